"""Names to parts: who owns a name, what can be set on it, and the part itself."""

import functools
import inspect
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any

from fedbench_core.api.errors import RequestError, unknown
from fedbench_core.api.parts import Method
from fedbench_core.registry.fits import declared, misfit
from fedbench_core.registry.options import Option, UnreadableError, bind, read_options
from fedbench_core.registry.plugins import KINDS, Claim, Plugin, discover

_NOTHING: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True)
class Description:
    """What is known of a name. summary: its first line of documentation; doc: all of it; declares: see `fits`."""

    kind: str
    name: str
    distribution: str
    version: str
    summary: str
    doc: str
    declares: Mapping[str, object]


class Registry:
    """Everything that is installed, by kind and name.

    A name that two plugins claim, or whose signature is no list of options, is left out of `names` and refused with
    the reason when it is asked for; all others work.
    """

    def __init__(self, plugins: Iterable[Plugin], claims: Iterable[Claim]) -> None:
        self._plugins = list(plugins)
        self._owned: dict[tuple[str, str], tuple[Claim, tuple[Option, ...]]] = {}
        self._refused: dict[tuple[str, str], str] = {}
        claimed: dict[tuple[str, str], list[Claim]] = defaultdict(list)
        for claim in claims:
            claimed[claim.kind, claim.name].append(claim)
        for key, rivals in claimed.items():
            self._settle(key, rivals)

    def names(self, kind: str, pattern: str = "") -> list[str]:
        """The usable names of a kind that match, sorted; a `pattern` without wildcards may stand anywhere in a name."""
        _expect(kind)
        glob = pattern if set(pattern) & set("*?[") else f"*{pattern}*"
        return sorted(name for k, name in self._owned if k == kind and fnmatchcase(name, glob))

    def kinds(self, name: str) -> list[str]:
        """The kinds in which a plugin claims `name`, also where asking for it would be refused."""
        return [kind for kind in KINDS if (kind, name) in self._owned or (kind, name) in self._refused]

    def options(self, kind: str, name: str) -> tuple[Option, ...]:
        """What can be set on a part; RequestError if there is no such name."""
        return self._find(kind, name)[1]

    def check(self, kind: str, name: str, options: Mapping[str, object] = _NOTHING) -> dict[str, object]:
        """All options of a part, parsed, with defaults filled in; checking the result again gives the same.

        RequestError on an unknown name or option, a value of the wrong type or out of range, a missing option.
        """
        return bind(f"{_words(kind)} {name!r}", kind, self.options(kind, name), options)

    def make(self, kind: str, name: str, options: Mapping[str, object] = _NOTHING) -> Any:
        """The part itself, its options checked as by `check`.

        RequestError too where its factory raises ValueError, or makes what is no part of this version of the contract.
        """
        checked = self.check(kind, name, options)
        factory = self._find(kind, name)[0].factory
        if kind == "method":
            return factory
        try:
            part = factory(**checked)
        except ValueError as error:
            raise RequestError(f"{_words(kind)} {name!r} refuses these options: {error}") from error
        if told := misfit(kind, part):
            plugin = self._find(kind, name)[0].plugin
            raise RequestError(f"The {_words(kind)} {name!r} of {plugin} cannot be used: {told}.")
        return part

    def method(self, name: str) -> Method:
        """The method of that name; RequestError if there is none."""
        method: Method = self.make("method", name)
        return method

    def describe(self, kind: str, name: str) -> Description:
        """Where a name comes from and what it says about itself; RequestError if there is no such name."""
        claim = self._find(kind, name)[0]
        doc = claim.factory.summary if kind == "method" else _doc(claim.factory)
        origin = claim.plugin.distribution, claim.plugin.version
        return Description(kind, name, *origin, doc.partition("\n")[0], doc, declared(kind, claim.factory))

    def plugins(self) -> list[Plugin]:
        """Every installed plugin with what it registers and what is wrong with it, by distribution and entry point."""
        return list(self._plugins)

    def _settle(self, key: tuple[str, str], rivals: list[Claim]) -> None:
        kind, name = key
        if len(rivals) > 1:
            owners = " and ".join(str(rival.plugin) for rival in rivals)
            self._refuse(key, rivals, f"the {_words(kind)} {name!r} is claimed by {owners}; uninstall all but one")
            return
        try:
            options = () if kind == "method" else read_options(rivals[0].factory)
        except UnreadableError as error:
            self._refuse(key, rivals, f"the {_words(kind)} {name!r} of {rivals[0].plugin} cannot be used: {error}")
        else:
            self._owned[key] = rivals[0], options

    def _refuse(self, key: tuple[str, str], rivals: Iterable[Claim], reason: str) -> None:
        self._refused[key] = reason
        for rival in rivals:
            rival.plugin.problems.append(reason)

    def _find(self, kind: str, name: str) -> tuple[Claim, tuple[Option, ...]]:
        _expect(kind)
        key = kind, name
        if key in self._refused:
            reason = self._refused[key]
            raise RequestError(f"{reason[0].upper()}{reason[1:]}.")
        if key not in self._owned:
            raise unknown(_words(kind), name, self.names(kind), self.warning())
        return self._owned[key]

    def warning(self) -> str:
        """A sentence that names the distributions that something is wrong with; "" if all is well."""
        broken = dict.fromkeys(plugin.distribution for plugin in self._plugins if plugin.problems)
        return f"Something is wrong with {', '.join(broken)}: `fedbench plugins` says what." if broken else ""


@functools.cache
def registry() -> Registry:
    """The registry of this process; the first call imports every installed plugin (and so torch: seconds)."""
    return Registry(*discover())


def _expect(kind: str) -> None:
    if kind not in KINDS:
        raise ValueError(f"no kind {kind!r}; there are {', '.join(KINDS)}")


def _words(kind: str) -> str:
    return kind.replace("_", " ")


def _doc(factory: Any) -> str:
    own = factory.__dict__.get("__doc__") if isinstance(factory, functools.partial) else factory.__doc__
    doc = own or (factory.func.__doc__ if isinstance(factory, functools.partial) else "") or ""
    generated = isinstance(factory, type) and doc.startswith(f"{factory.__name__}(")  # by dataclass, from the fields
    return "" if generated else inspect.cleandoc(doc)
