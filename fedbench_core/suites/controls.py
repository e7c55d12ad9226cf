"""Controls in a suite: the entries without the idea that the method of another entry claims."""

from collections.abc import Mapping
from dataclasses import dataclass

from fedbench_core.suites.resolved_specs import DeclaredControl, Resolved, remembered_specs
from fedbench_core.suites.suite import Suite


@dataclass(frozen=True)
class EntryControl:
    """The control of an entry: its name, None if no entry is it.

    declared: by the method of the entry, None if it declares none; fault: how the entry that is named differs from it.
    """

    name: str | None
    declared: DeclaredControl | None = None
    fault: str = ""


Controls = Mapping[str, EntryControl | None]
"""By entry; None for an entry that is its own control."""


def suite_controls(suite: Suite) -> Controls:
    """The controls of the entries of a suite, as `controls_of`; those that [baselines] names come first."""
    points = {point.entry: point for point in reversed(list(suite.default_points(suite.seeds[:1])))}
    with remembered_specs() as specs:
        return controls_of({name: specs.of(point) for name, point in points.items()}, suite.baselines.controls)


def controls_of(specs: Mapping[str, Resolved | None], named: Mapping[str, str]) -> Controls:
    """The controls of the entries whose methods declare one, and of others for which one is named.

    A control is the entry that is named, or one that has all settings of it. specs: of the entries, None for one with a
    part that is not installed: what that declares is not known.
    """
    names = {one.digest: name for name, one in reversed(list(specs.items())) if one is not None}
    declared = {name: one.control for name, one in specs.items() if one is not None and one.control is not None}
    return {name: EntryControl(control) for name, control in named.items()} | {
        name: None if control.digest is None else _control(control, named.get(name), specs, names.get(control.digest))
        for name, control in declared.items()
    }


def pairs_of(controls: Controls) -> frozenset[frozenset[str]]:
    """The entries and their controls as sets of two."""
    return frozenset(frozenset((name, own.name)) for name, own in controls.items() if own is not None and own.name)


def _control(
    declared: DeclaredControl, named: str | None, specs: Mapping[str, Resolved | None], found: str | None
) -> EntryControl:
    if named is None:
        return EntryControl(found, declared)
    return EntryControl(named, declared, _fault(specs.get(named), declared))


def _fault(named: Resolved | None, declared: DeclaredControl) -> str:
    """How a named control contradicts what a method declares; other settings may differ."""
    if named is None:
        return ""
    if named.spec["method"] != declared.method:
        return f"is of method {named.spec['method']}"
    odd = next((name for name, value in declared.options.items() if named.spec["set"].get(name) != value), None)
    return f"has {odd} {named.spec['set'].get(odd)}" if odd else ""
