"""From entry points to what each plugin claims to add; whatever a plugin does wrong is written down, never fatal."""

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from fedbench_core.api import API_VERSION, hookspecs
from fedbench_core.registry.fits import wrong_method
from fedbench_core.registry.shared import put_back

GROUP = "fedbench"
HOOKS = {
    "partitioner": "fedbench_register_partitioners",
    "local_update": "fedbench_register_local_updates",
    "compressor": "fedbench_register_compressors",
    "aggregator": "fedbench_register_aggregators",
    "topology": "fedbench_register_topologies",
    "dataset": "fedbench_register_datasets",
    "backbone": "fedbench_register_backbones",
    "method": "fedbench_register_methods",
}
KINDS = tuple(HOOKS)
PREFIX = "fedbench_register_"
_CHANGED = "its import changed {}, which would change the numbers of every method (put back): set nothing on import"
_HERE = f"this fedbench has version {API_VERSION}"

# What a plugin's code may raise without ending the command of a user who has merely installed it.
_FAILURES = (Exception, SystemExit)


@dataclass
class Plugin:
    """One entry point of the group `fedbench`: where it comes from, what it registers by kind, what is wrong."""

    distribution: str
    version: str
    entry_point: str
    target: str
    registers: dict[str, list[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.distribution} {self.version} (entry point {self.entry_point!r})"


@dataclass(frozen=True)
class Claim:
    """A name that a plugin wants for its factory (a method's name: for the `Method` itself)."""

    kind: str
    name: str
    plugin: Plugin
    factory: Any


def discover() -> tuple[list[Plugin], list[Claim]]:
    """Every plugin that is installed, ordered by distribution and entry point, and all that they claim."""
    plugins, claims = [], []
    with redirect_stdout(sys.stderr):  # what a plugin prints must not get into a command's --json
        for point in sorted(entry_points(group=GROUP), key=_place):
            with put_back() as changed:
                plugin, claimed = _load(point)
            plugin.problems += [_CHANGED.format(what) for what in changed]
            plugins.append(plugin)
            claims += claimed
    return plugins, claims


def _place(point: EntryPoint) -> tuple[str, str, str]:
    return _distribution(point)[0], point.name, point.value


def _distribution(point: EntryPoint) -> tuple[str, str]:
    name, version = (point.dist.name, point.dist.version) if point.dist else (None, None)
    return name or "unknown", version or ""  # metadata that somebody has damaged hold neither


def _load(point: EntryPoint) -> tuple[Plugin, list[Claim]]:
    plugin = Plugin(*_distribution(point), point.name, point.value)
    manager = pluggy.PluginManager(GROUP)  # one each: a plugin that pluggy refuses leaves no trace on the others
    manager.add_hookspecs(hookspecs)
    try:
        module = point.load()
        plugin.problems += _other_version(module)
        if plugin.problems:
            return plugin, []
        plugin.problems += _misspelt(manager, module)
        manager.register(module)
    except pluggy.PluginValidationError as error:
        said = "; ".join(str(error).splitlines()[1:])
        plugin.problems.append(f"failed to load: a hook of another version of the contract ({_HERE}): {said}")
        return plugin, []
    except _FAILURES as error:
        plugin.problems.append(f"failed to load: {_reason(error)}{_hint(error)}")
        return plugin, []
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"It was waiting for {plugin} to be imported.") from None
    claims = [claim for kind in KINDS for claim in _claims(manager, kind, plugin)]
    for claim in claims:
        plugin.registers.setdefault(claim.kind, []).append(claim.name)
    return plugin, claims


def _other_version(module: object) -> Iterable[str]:
    """What the module says about the version of the contract that it was written for, where that is another one."""
    asked = getattr(module, "api_version", API_VERSION)
    if asked != API_VERSION:
        newer = "fedbench-core" if isinstance(asked, int) and asked > API_VERSION else "plugin"
        yield f"is written for version {asked} of the contract, and {_HERE}: install a newer {newer}"


def _hint(error: BaseException) -> str:
    """Another version of the contract is the likely reason why a name of it cannot be imported."""
    ours = isinstance(error, ImportError) and (error.name or "").startswith("fedbench_core")
    return f" ({_HERE}; is it written for another one?)" if ours else ""


def _misspelt(manager: pluggy.PluginManager, module: object) -> Iterable[str]:
    for name in dir(module):
        marked = manager.parse_hookimpl_opts(module, name)
        hook = (marked and marked["specname"]) or name
        if marked is not None and hook not in HOOKS.values():
            yield _no_hook(hook)
        elif marked is None and name.startswith(PREFIX) and inspect.isroutine(getattr(module, name)):
            yield (
                f"{name} is not marked with @hookimpl, so it is not called"
                if name in HOOKS.values()
                else _no_hook(name)
            )


def _no_hook(name: str) -> str:
    close = get_close_matches(name, HOOKS.values(), n=1)
    guess = f"did you mean {close[0]}?" if close else f"there are {', '.join(HOOKS.values())}"
    return f"{name} is no hook of fedbench; {guess}"


def _claims(manager: pluggy.PluginManager, kind: str, plugin: Plugin) -> list[Claim]:
    implementations = getattr(manager.hook, HOOKS[kind]).get_hookimpls()
    return [claim for hook in implementations for claim in _call(hook.function, kind, plugin)]


def _call(hook: Callable[[], object], kind: str, plugin: Plugin) -> list[Claim]:
    try:
        given = hook()
        if not isinstance(given, Mapping):
            raise TypeError(f"gave {type(given).__name__}, not a mapping from names to factories")
        items = list(given.items())
    except _FAILURES as error:
        plugin.problems.append(f"{HOOKS[kind]}: {_reason(error)}")
        return []
    problems = [_unfit(kind, name, factory) for name, factory in items]
    plugin.problems += [f"{HOOKS[kind]}: {problem}" for problem in problems if problem]
    return [Claim(kind, name, plugin, factory) for (name, factory), bad in zip(items, problems, strict=True) if not bad]


def _unfit(kind: str, name: object, factory: object) -> str:
    if not isinstance(name, str) or not name:
        return f"{name!r} is no name"
    if kind == "method":
        told = wrong_method(factory)
        return f"{name!r} {told}" if told else ""
    return "" if callable(factory) else f"{name!r} is of type {type(factory).__name__}, not a callable factory"


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".strip().removesuffix(":")
