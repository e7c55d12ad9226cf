"""A suite: what is compared, as a TOML file, and the grid points (runs) that it asks for.

Expanding a suite needs no plugin: records that were made with one can be read without it.
"""

import hashlib
import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from fedbench_core.api.errors import RequestError, unknown
from fedbench_core.federation.spec import RunSpec, plain

METRICS = (
    *("personalization", "generalization", "worst_client", "worst_decile", "global_accuracy", "balanced_accuracy"),
    *("auc", "f1", "rarest_recall", "ece", "brier", "mae"),
)
"""What a suite may rank by: keys of a record's block test.metrics."""
AXES = ("dataset", "backbones", "seed")
"""Settings that a suite's own lists give; an entry may have backbones of its own."""

Name = Annotated[str, Field(min_length=1)]
Settings = Mapping[str, Any]


@dataclass(frozen=True)
class GridPoint:
    """One run that a suite asks for. `settings`: as asked, for `RunSpec.of`; what `key` stands for."""

    suite: str
    entry: str
    dataset: str
    partition: str
    backbones: str
    seed: int
    settings: Settings

    @cached_property
    def key(self) -> str:
        """sha256 of the settings in canonical JSON: the same wherever the grid point stands, and whatever it is called."""
        text = json.dumps(self.settings, sort_keys=True, separators=(",", ":"), default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def name(self) -> str:
        """The name of its filed record, without the suffix."""
        words = (self.entry, self.dataset, self.partition)
        return f"{'-'.join(map(_slug, words))}-s{self.seed}-{self.key[:8]}"

    @property
    def block(self) -> dict[str, Any]:
        """What a filed record says about its grid_point."""
        names = ("suite", "entry", "dataset", "partition", "backbones", "seed", "key")
        return {name: getattr(self, name) for name in names}

    @property
    def spec(self) -> RunSpec:
        """The run; RequestError for a setting that is unknown or out of range."""
        return RunSpec.of(dict(self.settings))


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Variant(_Strict):
    """A table of settings with a name."""

    name: Name
    settings: Settings

    @model_validator(mode="before")
    @classmethod
    def _part(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        settings = plain({key: value for key, value in values.items() if key != "name"})
        axes = [axis for axis in AXES if axis in settings and axis not in cls.own_axes()]
        if axes:
            raise PydanticCustomError("axis", f"{axes[0]} is an axis of the suite; give it in the suite's own list")
        return {"name": values.get("name", cls.default_name(settings)), "settings": settings}

    @classmethod
    def default_name(cls, settings: Settings) -> str:
        """What it is called if it doesn't say."""
        raise NotImplementedError

    @classmethod
    def own_axes(cls) -> tuple[str, ...]:
        """Axes that it may set for itself."""
        return ()


class Partition(_Variant):
    """How images are dealt out; what a leaderboard calls it."""

    @classmethod
    def default_name(cls, settings: Settings) -> str:
        """The partitioner and its options: `dirichlet, alpha 0.3`."""
        options = [f"{key.partition('.')[2]} {value}" for key, value in settings.get("set", {}).items()]
        return ", ".join([str(settings.get("partitioner", "as set")), *options])


class Entry(_Variant):
    """A row: a method with settings of its own, which are laid over the suite's.

    One with `backbones` stands in every list's comparison with its own: a reference that can't run on mixed ones.
    """

    @classmethod
    def own_axes(cls) -> tuple[str, ...]:
        """Backbones."""
        return ("backbones",)

    @classmethod
    def default_name(cls, settings: Settings) -> str:
        """The method's name."""
        if "method" not in settings:
            raise PydanticCustomError("method", 'an entry names its method: method = "..."')
        return str(settings["method"])


class Baselines(_Strict):
    """The compulsory rows, by the names of their entries.

    steps, flops: nothing travels, equal steps and equal training FLOPs. centralized: all data in one place. tuned: a global
    model that every client fine-tunes. unshared: to an entry of mutual distillation, the same pair, never shared; to
    another that scores two models of each client, the row of steps.
    """

    steps: Name | None = None
    flops: Name | None = None
    centralized: Name | None = None
    tuned: Name | None = None
    unshared: dict[Name, Name] = Field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Every entry that is spoken of."""
        single = (self.steps, self.flops, self.centralized, self.tuned)
        return [name for name in single if name] + [*self.unshared, *self.unshared.values()]


class Suite(_Strict):
    """What is compared: entries x datasets x partitions x backbones x seeds, and the question that answers.

    metric: what entries are ranked by. backbones: each as on the command line, "a,b" deals two to the clients in turn.
    """

    name: Name
    question: Name
    metric: Name = "personalization"
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = tuple(range(12))
    datasets: Annotated[tuple[Name, ...], Field(min_length=1)]
    backbones: Annotated[tuple[Name, ...], Field(min_length=1)]
    settings: Settings = Field(default_factory=dict)
    partitions: Annotated[tuple[Partition, ...], Field(min_length=1)]
    entries: Annotated[tuple[Entry, ...], Field(min_length=1)]
    baselines: Baselines = Baselines()

    @field_validator("seeds", mode="before")
    @classmethod
    def _count(cls, seeds: Any) -> Any:
        return tuple(range(seeds)) if isinstance(seeds, int) else seeds

    @field_validator("settings", mode="before")
    @classmethod
    def _plain(cls, settings: Any) -> Any:
        return plain(settings) if isinstance(settings, dict) else settings

    def grid_points(self) -> list[GridPoint]:
        """Every run that is asked for, seed by seed, so that whole seeds are there early."""
        return list(self._grid_points())

    def _grid_points(self) -> Iterator[GridPoint]:
        grid = product(self.seeds, self.datasets, self.partitions, self.backbones, self.entries)
        for seed, dataset, partition, backbones, entry in grid:
            own = _names(entry.settings.get("backbones", backbones))
            axes = {"dataset": dataset, "backbones": own, "seed": seed}
            settings = {**laid(laid(self.settings, partition.settings), entry.settings), **axes}
            yield GridPoint(self.name, entry.name, dataset, partition.name, ",".join(_names(backbones)), seed, settings)


def laid(below: Settings, above: Settings) -> dict[str, Any]:
    """Settings over others: options one by one, and a budget (epochs, steps) in place of the other's."""
    if "epochs" in above or "steps" in above:
        below = {name: value for name, value in below.items() if name not in ("epochs", "steps")}
    options = {**below.get("set", {}), **above.get("set", {})}
    return {**below, **above, **({"set": options} if options else {})}


def read_suite(path: Path) -> Suite:
    """The suite in a TOML file; RequestError names the file and what is wrong with it."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        suite = Suite(**{"partitions": [{}], **values})
        _check(suite, path)
    except FileNotFoundError:
        others = ", ".join(str(other) for other in sorted(path.parent.glob("*.toml"))) or "none"
        raise RequestError(f"There is no suite {path}. Suites in that folder: {others}.") from None
    except ValidationError as error:
        raise RequestError(f"{path}: {'; '.join(_sentence(problem) for problem in error.errors())}.") from None
    except (OSError, ValueError, RequestError) as error:
        raise RequestError(f"{path}: {error}") from None
    return suite


def _check(suite: Suite, path: Path) -> None:
    if suite.name != path.stem:
        raise RequestError(f"its name is {suite.name!r}; expected {path.stem!r}, as the file's. Name both alike.")
    for kind in ("seeds", "datasets", "backbones"):
        twice = [value for value, count in Counter(getattr(suite, kind)).items() if count > 1]
        if twice:
            raise RequestError(f"{kind} names {twice[0]!r} twice. Once is enough: equal settings are one run.")
    if suite.metric not in METRICS:
        raise unknown("metric", suite.metric, METRICS)
    for kind in ("entries", "partitions"):
        _refuse_twins([row.name for row in getattr(suite, kind)], f"two {kind} are called")
    for name in suite.baselines.names:
        if name not in (known := [entry.name for entry in suite.entries]):
            raise unknown("entry (of [baselines])", name, known)
    for grid_point in suite.grid_points():
        _check_grid_point(grid_point)


def _check_grid_point(grid_point: GridPoint) -> None:
    try:
        _ = grid_point.spec
    except RequestError as error:
        raise RequestError(f"entry {grid_point.entry!r}, partition {grid_point.partition!r}: {error}") from None


def _refuse_twins(names: Sequence[str], what: str) -> None:
    twins = [name for name, count in Counter(names).items() if count > 1]
    if twins:
        raise RequestError(f"{what} {twins[0]!r}. Tell them apart by a name = of their own.")


def _sentence(problem: Any) -> str:
    """`entries.2.name: field required`, with what was given where that is short."""
    where = ".".join(str(step) for step in problem["loc"])
    given = problem["input"]
    shown = f" got {given!r};" if isinstance(given, str | int | float) else ""
    return f"{where}:{shown} {problem['msg'][0].lower()}{problem['msg'][1:]}"


def _names(backbones: Any) -> list[str]:
    return [name.strip() for name in backbones.split(",")] if isinstance(backbones, str) else list(backbones)


def _slug(words: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", words.lower()).strip("-.")
