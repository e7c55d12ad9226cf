"""The resolved specs of grid points, kept between commands: resolving imports every plugin and torch, for seconds.

They are stored in the cache folder with a digest of every plugin's version and files, and resolved again when one
changes. Nothing is stored while a plugin has a problem, whose cause may be elsewhere.
"""

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from fedbench_core.api.errors import FedbenchError, RequestError
from fedbench_core.api.folders import cached, default_cache, read_cached
from fedbench_core.federation.files import replace_file
from fedbench_core.federation.spec import RunSpec
from fedbench_core.registry.trial import key_of_plugins
from fedbench_core.suites.grid import GridPoint

if TYPE_CHECKING:
    from fedbench_core.federation.resolved import ResolvedRun

Spec = Mapping[str, Any]


@dataclass(frozen=True)
class DeclaredControl:
    """What a method is without the idea that it claims, for one spec.

    text: in words; digest: of the control's resolved spec with the default seed, None if the spec is its own control.
    """

    method: str
    options: Mapping[str, object]
    text: str
    digest: str | None


@dataclass(frozen=True)
class Resolved:
    """A resolved spec, and the number of rounds that the scores of its runs are means over.

    digest: of the spec with the default seed. control: None if the method declares none, or one that is not installed.
    """

    spec: Spec
    period: int
    digest: str
    control: DeclaredControl | None


class ResolvedSpecs:
    """Resolved specs without their seed, by the settings of a grid point as JSON."""

    def __init__(self, known: Mapping[str, Resolved]) -> None:
        self.known = dict(known)

    def of(self, grid_point: GridPoint) -> Resolved | None:
        """The resolved spec of a grid point; None if one of its parts is not installed, or doesn't exist."""
        found = self.of_settings(grid_point.settings)
        return None if found is None else replace(found, spec={**found.spec, "seed": grid_point.seed})

    def of_settings(self, settings: Mapping[str, Any]) -> Resolved | None:
        """The resolved spec of these settings with the default seed; None as in `of`."""
        text = json.dumps(
            {name: value for name, value in settings.items() if name != "seed"}, sort_keys=True, default=str
        )
        if text not in self.known:
            found = _resolved(text)
            if found is None:
                return None
            self.known[text] = found
        return self.known[text]


@contextmanager
def remembered_specs() -> Iterator[ResolvedSpecs]:
    """What was resolved on this machine; what is resolved in the block is added. Nothing is kept without a cache."""
    file, key = _file(), _key()
    specs = ResolvedSpecs(_read(file, key))
    before = len(specs.known)
    yield specs
    if key and len(specs.known) > before and not _has_problems():
        with suppress(OSError, FedbenchError):
            file.parent.mkdir(parents=True, exist_ok=True)
            replace_file(file, cached(to_json({"key": key, "specs": specs.known})))


def expected_spec(grid_point: GridPoint) -> Spec | None:
    """The resolved spec of a grid point; None if one of its parts is not installed, or doesn't exist."""
    found = ResolvedSpecs({}).of(grid_point)
    return None if found is None else found.spec


@lru_cache(maxsize=4096)
def _resolved(settings: str) -> Resolved | None:
    from fedbench_core.federation.assembly import assemble  # noqa: PLC0415  # torch: what is known does not need it

    try:
        run = assemble(RunSpec.of(json.loads(settings)))
    except RequestError:
        return None
    return Resolved(run.spec.model_dump(mode="json"), run.period, run.spec.digest, _control(run))


def _control(run: "ResolvedRun") -> DeclaredControl | None:
    from fedbench_core.federation.controls import control_of  # noqa: PLC0415  # as above

    control = run.method.control
    try:
        found = control_of(run)
    except RequestError:
        return None
    if control is None:
        return None
    text = "".join([f"method {control}", *(f", {name} = {value}" for name, value in run.method.requires.items())])
    return DeclaredControl(control.method, control.options, text, None if found is None else found.digest)


def _read(file: Path, key: str) -> dict[str, Resolved]:
    content = read_cached(file)
    stored = {} if content is None else json.loads(content)
    if not key or stored.get("key") != key:
        return {}
    return {text: _read_one(one) for text, one in stored["specs"].items()}


def _read_one(stored: Mapping[str, Any]) -> Resolved:
    control = stored["control"]
    return Resolved(**{**stored, "control": None if control is None else DeclaredControl(**control)})


def _file() -> Path:
    """One file for each environment."""
    return default_cache() / "specs" / f"{hashlib.sha256(sys.prefix.encode()).hexdigest()[:16]}.json"


def _key() -> str:
    """A digest of all that resolving depends on; "" if the files of a plugin are not known."""
    plugins = key_of_plugins()
    return plugins and f"{plugins} timm {version('timm')} {[field.name for field in fields(Resolved)]}"


def _has_problems() -> bool:
    from fedbench_core.registry import registry  # noqa: PLC0415  # loaded, since something was resolved

    return bool(registry().warning())
