"""Records held against their grid points: the whole resolved spec, not only what the suite file names."""

from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pydantic import TypeAdapter, ValidationError

from fedbench_core.records.differences import differences
from fedbench_core.records.schema import LIBRARIES
from fedbench_core.records.scored import scored
from fedbench_core.suites.grid import GridPoint

Spec = Mapping[str, Any]
_RESOLVED = ("backbones", "set")
"""Settings that are compared otherwise, or not at all, where a part is not installed: a backbone may have aliases."""


def lacks_rounds(record: Mapping[str, Any], period: int) -> bool:
    """Whether a record of an earlier version has scores of the last round, where they are now means over a period."""
    return len(scored(record).evaluations) < period


def changes(record: Mapping[str, Any], grid_point: GridPoint, expected: Spec | None) -> list[str]:
    """How the spec of a record differs from what its grid point asks for. expected: its resolved spec.

    An option that a record of another version does not have is no difference, unless the suite names it. Where a part
    is not installed, only the settings that the suite names are compared.
    """
    spec = record["spec"]
    if expected is None:
        return _named_changes(spec, grid_point)
    if spec == expected:
        return []
    named = grid_point.settings.get("set", {})
    unnamed = {name: value for name, value in expected["set"].items() if name not in named}
    later = unnamed if _is_of_other_version(record) else {}
    given = {**spec, "set": {**later, **spec["set"]}}
    return [f"{one.path} {one.before} (the suite: {one.now})" for one in differences(given, expected)]


def _is_of_other_version(record: Mapping[str, Any]) -> bool:
    """Whether a part of the run came from another version of its package than the one that is installed."""
    packages = {name: found for name, found in record["versions"].items() if name not in (*LIBRARIES, "python")}
    return any(_installed(name) not in (None, found) for name, found in packages.items())


@cache
def _installed(package: str) -> str | None:
    with suppress(PackageNotFoundError):
        return version(package)
    return None


def _named_changes(spec: Spec, grid_point: GridPoint) -> list[str]:
    expected = {name: value for name, value in grid_point.settings.items() if name not in _RESOLVED}
    triples = [(name, value, spec.get(name)) for name, value in expected.items()]
    options = grid_point.settings.get("set", {})
    triples += [(name, value, spec["set"].get(name, value)) for name, value in options.items()]
    return [f"{name} {actual} (the suite: {value})" for name, value, actual in triples if _differ(value, actual)]


def _differ(expected: object, actual: object) -> bool:
    """Whether a setting has another value than expected; a suite may write a number as text."""
    if isinstance(expected, str) and isinstance(actual, int | float):
        with suppress(ValidationError):
            expected = TypeAdapter(type(actual)).validate_strings(expected)
    return actual != expected
