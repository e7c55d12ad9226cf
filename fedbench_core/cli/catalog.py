"""What `list`, `show` and `reference` print about registered names, as values that JSON can hold."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import partial

from fedbench_core.api import Method, RequestError, unknown
from fedbench_core.cli import backbones
from fedbench_core.cli.entries import METHOD_FIELDS, Entry
from fedbench_core.models import knows
from fedbench_core.registry import KINDS, Option, registry

_PARTS = {
    "local_update": "local_update",
    "aggregator": "aggregator",
    "compressor": "compressor",
    "downlink": "compressor",
    "topology": "topology",
}
"""The fields of a method that name a part, with the kind of that part."""


def listed(kind: str, pattern: str, everything: bool = False) -> list[Entry]:
    """One entry per name of `kind` that matches `pattern`; RequestError with close matches if none does.

    Without a pattern, the entries include timm's short names but not its architectures, unless `everything` is True.
    """
    entries = _entries(kind, pattern)
    if kind == "backbone":
        entries += backbones.aliases(pattern)
        entries += backbones.architectures(pattern) if pattern or everything else []
    if pattern and not entries:
        hint = backbones.close(pattern) if kind == "backbone" else ""
        raise unknown(kind.replace("_", " "), pattern, registry().names(kind), hint)
    return entries


def registered() -> dict[str, list[Entry]]:
    """The entries of all names that plugins register, by kind."""
    return {kind: _entries(kind) for kind in KINDS}


def unlisted() -> int:
    """The number of backbones that `listed` leaves out."""
    return len(backbones.architectures(""))


def shown(name: str) -> list[Entry]:
    """The full entry of `name`, one per kind that has the name, a method first.

    RequestError with close matches if there is none, or with the reason if the name cannot be used.
    """
    kinds = sorted(registry().kinds(name), key=lambda kind: kind != "method")
    found = [described(kind, name) for kind in kinds]
    if "backbone" not in kinds and knows(name):
        found.append({**backbones.origin(name), "options": [_option(option) for option in backbones.options()]})
    if not found:
        raise unknown("method, part, dataset or backbone", name, _every_name(), backbones.close(name))
    return found


def described(kind: str, name: str) -> Entry:
    """The full entry of `name` of one kind; RequestError if there is none, or if it cannot be used."""
    return _method(name) if kind == "method" else _part(kind, name)


def _entries(kind: str, pattern: str = "") -> list[Entry]:
    line = _method_line if kind == "method" else partial(_part_line, kind)
    return [line(name) for name in registry().names(kind, pattern)]


def _method_line(name: str) -> Entry:
    method, origin = registry().method(name), registry().describe("method", name)
    return {
        "name": name,
        "summary": origin.summary,
        "mixed_backbones": method.mixed_backbones,
        "partial_participation": method.partial_participation,
        "distribution": origin.distribution,
    }


def _part_line(kind: str, name: str) -> Entry:
    origin = registry().describe(kind, name)
    options = [option.name for option in registry().options(kind, name)]
    return {"name": name, "summary": origin.summary, "options": options, "distribution": origin.distribution}


def _part(kind: str, name: str) -> Entry:
    return {**_origin(kind, name), "options": [_option(option) for option in registry().options(kind, name)]}


def _origin(kind: str, name: str) -> Entry:
    origin = registry().describe(kind, name)
    return {key: getattr(origin, key) for key in ("kind", "name", "distribution", "version", "doc", "declares")}


def _option(option: Option) -> Entry:
    return {field.name: getattr(option, field.name) for field in fields(option) if field.name != "adapter"}


def _method(name: str) -> Entry:
    method = registry().method(name)
    parts = {part: _method_part(method, part, kind) for part, kind in _PARTS.items() if getattr(method, part)}
    fields_ = {field: getattr(method, field) for field in METHOD_FIELDS}
    control = str(method.control or "")
    return {**_origin("method", name), **fields_, "control": control, "parts": parts}


def _method_part(method: Method, part: str, kind: str) -> Entry:
    name = getattr(method, part)
    given: Mapping[str, object] = method.options.get(part, {})
    try:
        values = registry().check(kind, name, given)
        options = [_option(option) | {"value": values[option.name]} for option in registry().options(kind, name)]
    except RequestError as error:  # `show` also works for a method whose part is missing; `run` does not
        return {"name": name, "options": [], "problem": str(error)}
    return {"name": name, "options": options, "problem": None}


def _every_name() -> Iterable[str]:
    return {name for kind in KINDS for name in registry().names(kind)}
