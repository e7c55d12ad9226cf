"""The registry: which plugin provides a name, its options, and the part itself."""

import functools
import inspect
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from fedbench_core.api.errors import RequestError, unknown
from fedbench_core.api.parts import Method
from fedbench_core.registry.checks import class_problem, declarations, part_problem
from fedbench_core.registry.names import matching, spaced
from fedbench_core.registry.options import Option, UnreadableError, bind, read_options
from fedbench_core.registry.plugins import KINDS, Claim, Plugin, discover

_NO_OPTIONS: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True)
class Description:
    """Documentation and origin of a name.

    summary: first line of its docstring; doc: the whole docstring; declares: class-level declarations such as
    {"takes": "many"}.
    """

    kind: str
    name: str
    distribution: str
    version: str
    summary: str
    doc: str
    declares: Mapping[str, object]


class Registry:
    """All registered names, by kind.

    A name is unusable if two plugins register it, if its options can't be read, or if its class doesn't implement
    the contract. `names` leaves it out, and asking for it raises RequestError with the reason. Other names still work.
    """

    def __init__(self, plugins: Iterable[Plugin], claims: Iterable[Claim]) -> None:
        self._plugins = list(plugins)
        self._usable: dict[tuple[str, str], tuple[Claim, tuple[Option, ...]]] = {}
        self._problems: dict[tuple[str, str], str] = {}
        by_name: dict[tuple[str, str], list[Claim]] = defaultdict(list)
        for claim in claims:
            by_name[claim.kind, claim.name].append(claim)
        for key, same_name in by_name.items():
            self._add(key, same_name)

    def names(self, kind: str, pattern: str = "") -> list[str]:
        """The usable names of a kind that match `pattern`, sorted; without wildcards, names that contain it."""
        _check_kind(kind)
        return matching((name for k, name in self._usable if k == kind), pattern)

    def kinds(self, name: str) -> list[str]:
        """The kinds in which a plugin registers `name`, including unusable ones."""
        return [kind for kind in KINDS if (kind, name) in self._usable or (kind, name) in self._problems]

    def options(self, kind: str, name: str) -> tuple[Option, ...]:
        """The options of a part; RequestError for an unknown or unusable name."""
        return self._find(kind, name)[1]

    def check(self, kind: str, name: str, options: Mapping[str, object] = _NO_OPTIONS) -> dict[str, object]:
        """All options of a part, parsed, with defaults filled in; checking the result again returns the same.

        RequestError for an unknown name or option, a value of the wrong type or out of range, or a missing option.
        """
        return bind(f"{spaced(kind)} {name!r}", kind, self.options(kind, name), options)

    def make(self, kind: str, name: str, options: Mapping[str, object] = _NO_OPTIONS) -> Any:
        """The part itself, made from options that `check` accepts.

        RequestError also if the factory raises ValueError or returns an object that doesn't implement the contract.
        """
        checked = self.check(kind, name, options)
        claim = self._find(kind, name)[0]
        if kind == "method":
            return claim.factory
        try:
            part = claim.factory(**checked)
        except ValueError as error:
            raise RequestError(f"{spaced(kind)} {name!r} refuses these options: {error}") from error
        if problem := part_problem(kind, part):
            raise RequestError(f"The {spaced(kind)} {name!r} of {claim.plugin} cannot be used: {problem}.")
        return part

    def method(self, name: str) -> Method:
        """The method of that name; RequestError if there is none."""
        method: Method = self.make("method", name)
        return method

    def describe(self, kind: str, name: str) -> Description:
        """Documentation and origin of a name; RequestError for an unknown or unusable name."""
        claim = self._find(kind, name)[0]
        doc = claim.factory.summary if kind == "method" else _doc(claim.factory)
        origin = claim.plugin.distribution, claim.plugin.version
        return Description(kind, name, *origin, doc.partition("\n")[0], doc, declarations(kind, claim.factory))

    def plugins(self) -> list[Plugin]:
        """Every installed plugin with the names it registers and its problems, by distribution and entry point."""
        return list(self._plugins)

    def warning(self) -> str:
        """A sentence that names the distributions with problems; "" if there are none."""
        broken = dict.fromkeys(plugin.distribution for plugin in self._plugins if plugin.problems)
        return f"Plugins with problems: {', '.join(broken)}. Run `fedbench plugins` for details." if broken else ""

    def _add(self, key: tuple[str, str], claims: list[Claim]) -> None:
        kind, name = key
        label, claim = f"the {spaced(kind)} {name!r}", claims[0]
        if len(claims) > 1:
            owners = " and ".join(str(claim.plugin) for claim in claims)
            self._reject(key, claims, f"{label} is claimed by {owners}; uninstall all but one")
        elif problem := class_problem(kind, claim.factory):
            self._reject(key, claims, f"{label} of {claim.plugin} cannot be used: {problem}")
        else:
            try:
                self._usable[key] = claim, () if kind == "method" else read_options(claim.factory)
            except UnreadableError as error:
                self._reject(key, claims, f"{label} of {claim.plugin} cannot be used: {error}")

    def _reject(self, key: tuple[str, str], claims: Iterable[Claim], problem: str) -> None:
        self._problems[key] = problem
        for claim in claims:
            claim.plugin.problems.append(problem)

    def _find(self, kind: str, name: str) -> tuple[Claim, tuple[Option, ...]]:
        _check_kind(kind)
        key = kind, name
        if key in self._problems:
            problem = self._problems[key]
            raise RequestError(f"{problem[0].upper()}{problem[1:]}.")
        if key not in self._usable:
            raise unknown(spaced(kind), name, self.names(kind), self.warning())
        return self._usable[key]


@functools.cache
def registry() -> Registry:
    """The registry of this process. The first call imports every installed plugin and torch, which takes seconds."""
    return Registry(*discover())


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise ValueError(f"no kind {kind!r}; there are {', '.join(KINDS)}")


def _doc(factory: Any) -> str:
    own = factory.__dict__.get("__doc__") if isinstance(factory, functools.partial) else factory.__doc__
    doc = own or (factory.func.__doc__ if isinstance(factory, functools.partial) else "") or ""
    generated = isinstance(factory, type) and doc.startswith(f"{factory.__name__}(")  # dataclass writes such docstrings
    return "" if generated else inspect.cleandoc(doc)
