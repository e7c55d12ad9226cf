"""Plugin discovery: the names that each entry point registers. Errors in a plugin are collected, never fatal."""

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from fedbench_core.api import API_VERSION, hookspecs
from fedbench_core.registry.checks import MIGRATION, method_problem
from fedbench_core.registry.names import GROUP
from fedbench_core.registry.process_settings import restored_settings
from fedbench_core.registry.shared_functions import SharedFunctions, shown
from fedbench_core.registry.trial import failures

HOOKS = {
    "partitioner": "fedbench_register_partitioners",
    "local_update": "fedbench_register_local_updates",
    "compressor": "fedbench_register_compressors",
    "aggregator": "fedbench_register_aggregators",
    "topology": "fedbench_register_topologies",
    "dataset": "fedbench_register_datasets",
    "backbone": "fedbench_register_backbones",
    "method": "fedbench_register_methods",
    "tracker": "fedbench_register_trackers",
}
KINDS = tuple(HOOKS)
PREFIX = "fedbench_register_"
CORE = "fedbench-core"
_CHANGED = "its import changed {}. That affects every method and was undone: change no global setting on import"
_REPLACED = "its import replaced {}. That affects every method and was undone: define a function of your own instead"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
"""Names of parts and methods: files and folders are named after them."""
_THIS_VERSION = f"this fedbench has version {API_VERSION}"

# A user who only installed a plugin should be able to run every other command.
_FAILURES = (Exception, SystemExit)


@dataclass
class Plugin:
    """One entry point of the group `fedbench`: its origin, the names it registers by kind, and its problems."""

    distribution: str
    version: str
    entry_point: str
    target: str
    registers: dict[str, list[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, str, str]:
        """The order in which plugins are listed."""
        return self.distribution, self.entry_point, self.target

    def __str__(self) -> str:
        return f"{self.distribution} {self.version} (entry point {self.entry_point!r})"


@dataclass(frozen=True)
class Claim:
    """A name that a plugin registers, with its factory (for a method: the `Method` itself)."""

    kind: str
    name: str
    plugin: Plugin
    factory: Any


def discover() -> tuple[list[Plugin], list[Claim]]:
    """All installed plugins, by distribution and entry point, and all the names that they register."""
    points = sorted(entry_points(group=GROUP), key=_sort_key)
    own = [point for point in points if _distribution(point)[0] == CORE]
    with redirect_stdout(sys.stderr):  # a plugin that prints must not spoil a command's --json output
        loaded = [_load(point) for point in own]
        shared = SharedFunctions() if any(map(_is_new, points)) else None  # those of the core, too
        others = [point for point in points if point not in own]
        new = [point for point in others if _is_new(point)]
        problems = dict(zip(new, failures(new, _load), strict=True))
        loaded += [_load_other(point, shared, problems.get(point, "")) for point in others]
    loaded.sort(key=lambda pair: pair[0].key)
    return [plugin for plugin, _ in loaded], [claim for _, claims in loaded for claim in claims]


def _sort_key(point: EntryPoint) -> tuple[str, str, str]:
    return _distribution(point)[0], point.name, point.value


def _is_new(point: EntryPoint) -> bool:
    """Whether this process has not imported the module yet; watching a second import would take time for nothing."""
    return point.module not in sys.modules


def _load_other(point: EntryPoint, shared: SharedFunctions | None, problem: str) -> tuple[Plugin, list[Claim]]:
    """As `_load_watched`; shared functions that the import of a new module replaces are restored, too.

    A plugin with a problem, whose import would end or fork this process, is not imported.
    """
    if problem:
        return Plugin(*_distribution(point), point.name, point.value, problems=[f"failed to load: {problem}"]), []
    if shared is None or not _is_new(point):
        return _load_watched(point)
    with shared.restored() as replaced:
        plugin, claims = _load_watched(point)
    plugin.problems += [_REPLACED.format(shown(replaced))] if replaced else []
    return plugin, claims


def _load_watched(point: EntryPoint) -> tuple[Plugin, list[Claim]]:
    """Load a plugin; settings that its import or its hooks changed are restored, which is a problem of the plugin."""
    with restored_settings() as changes:
        plugin, claims = _load(point)
    plugin.problems += [_CHANGED.format(change) for change in changes]
    return plugin, claims


def _distribution(point: EntryPoint) -> tuple[str, str]:
    if point.dist is None:
        return "unknown", ""
    metadata = point.dist.metadata  # dist.name and dist.version would parse it twice
    name, version = (metadata[key] if key in metadata else "" for key in ("Name", "Version"))  # noqa: SIM401  # no get
    return name or "unknown", version or ""  # damaged metadata may have neither


def _load(point: EntryPoint) -> tuple[Plugin, list[Claim]]:
    plugin = Plugin(*_distribution(point), point.name, point.value)
    manager = pluggy.PluginManager(GROUP)  # one per plugin: an invalid one does not affect the others
    manager.add_hookspecs(hookspecs)
    try:
        module = point.load()
        plugin.problems += _version_problems(module)
        if plugin.problems:
            return plugin, []
        plugin.problems += _name_problems(manager, module)
        manager.register(module)
    except pluggy.PluginValidationError as error:
        details = "; ".join(str(error).splitlines()[1:])
        plugin.problems.append(f"failed to load: a hook of another contract version ({_THIS_VERSION}): {details}")
        return plugin, []
    except _FAILURES as error:
        plugin.problems.append(f"failed to load: {_reason(error)}{_import_hint(error)}")
        return plugin, []
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"Interrupted while importing {plugin}.") from None
    claims = [claim for kind in KINDS for claim in _claims(manager, kind, plugin)]
    for claim in claims:
        plugin.registers.setdefault(claim.kind, []).append(claim.name)
    return plugin, claims


def _version_problems(module: object) -> Iterable[str]:
    """What to do if the module declares another contract version."""
    written_for = getattr(module, "api_version", API_VERSION)
    if written_for != API_VERSION:
        newer = isinstance(written_for, int) and written_for > API_VERSION
        advice = "upgrade fedbench-core" if newer else f"install a newer version of the plugin. {MIGRATION}"
        yield f"is written for version {written_for} of the contract, and {_THIS_VERSION}: {advice}"


def _import_hint(error: BaseException) -> str:
    """A name that fedbench_core doesn't have is probably one of another contract version."""
    ours = isinstance(error, ImportError) and (error.name or "").startswith("fedbench_core")
    return f" ({_THIS_VERSION} of the contract). {MIGRATION}" if ours else ""


def _name_problems(manager: pluggy.PluginManager, module: object) -> Iterable[str]:
    """Functions that look like hooks but are misspelled or not marked."""
    for name in dir(module):
        marked = manager.parse_hookimpl_opts(module, name)
        hook = (marked and marked["specname"]) or name
        if marked is not None and hook not in HOOKS.values():
            yield _unknown_hook(hook)
        elif marked is None and name.startswith(PREFIX) and inspect.isroutine(getattr(module, name)):
            yield (
                f"{name} is not marked with @hookimpl, so it is not called"
                if name in HOOKS.values()
                else _unknown_hook(name)
            )


def _unknown_hook(name: str) -> str:
    close = get_close_matches(name, HOOKS.values(), n=1)
    guess = f"did you mean {close[0]}?" if close else f"there are {', '.join(HOOKS.values())}"
    return f"{name} is no hook of fedbench; {guess}"


def _claims(manager: pluggy.PluginManager, kind: str, plugin: Plugin) -> list[Claim]:
    implementations = getattr(manager.hook, HOOKS[kind]).get_hookimpls()
    return [claim for hook in implementations for claim in _call(hook.function, kind, plugin)]


def _call(hook: Callable[[], object], kind: str, plugin: Plugin) -> list[Claim]:
    try:
        returned = hook()
        if not isinstance(returned, Mapping):
            raise TypeError(f"returned {type(returned).__name__}, not a mapping from names to factories")
        items = list(returned.items())
    except _FAILURES as error:
        plugin.problems.append(f"{HOOKS[kind]}: {_reason(error)}")
        return []
    problems = [_item_problem(kind, name, factory) for name, factory in items]
    plugin.problems += [f"{HOOKS[kind]}: {problem}" for problem in problems if problem]
    return [Claim(kind, name, plugin, factory) for (name, factory), bad in zip(items, problems, strict=True) if not bad]


def _item_problem(kind: str, name: object, factory: object) -> str:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        return f"{name!r} is not a name; expected up to 64 of the characters a-z A-Z 0-9 . _ + -, the first a-z A-Z 0-9"
    if kind == "method":
        problem = method_problem(factory)
        return f"{name!r} {problem}" if problem else ""
    return "" if callable(factory) else f"{name!r} is of type {type(factory).__name__}, not a callable factory"


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".strip().removesuffix(":")
