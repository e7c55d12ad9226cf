"""Groups of records: by dataset, partition and backbones, then by entry and seed."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedbench_core.api import RunError
from fedbench_core.records.differences import differences
from fedbench_core.suites.suite import GridPoint, Suite

Record = Mapping[str, Any]
Runs = Mapping[str, Mapping[int, Record]]
"""Entry -> seed -> record, in the order of the suite's entries."""
_BLOCKS = ("spec", "method", "data", "population", "test", "costs", "versions", "how")
_RESOLVED = ("backbones", "set")
"""Settings that are compared otherwise or not at all: a backbone may have aliases, and options are resolved."""


@dataclass(frozen=True)
class Case:
    """The setting of one table: a dataset, a partition and the clients' backbones."""

    dataset: str
    partition: str
    backbones: str

    @property
    def parts(self) -> tuple[str, str, str]:
        """Dataset, partition and backbones as text."""
        return self.dataset, self.partition, self.backbones.replace(",", " + ")

    def __str__(self) -> str:
        """All parts: `breastmnist, IID, resnet18 + vit`."""
        return ", ".join(self.parts)


def group_by_case(suite: Suite, grid_points: Iterable[GridPoint], filed: Iterable[Record]) -> dict[Case, Runs]:
    """The records of the suite's grid points by case, in the order of the suite; only cases with a record.

    A record belongs to every grid point with its settings: a method that is listed under two names has its records
    twice. RunError for a record with other settings than its grid point, for records of one entry that differ in more
    than the seed, and for records of one case with different images.
    """
    by_key = {record["grid_point"]["key"]: record for record in filed}
    cases: dict[Case, dict[str, dict[int, Record]]] = {}
    for grid_point in grid_points:
        if grid_point.key in by_key:
            _check_blocks(grid_point, by_key[grid_point.key])
            _check_settings(grid_point, by_key[grid_point.key])
            runs = cases.setdefault(Case(grid_point.dataset, grid_point.partition, grid_point.backbones), {})
            runs.setdefault(grid_point.entry, {})[grid_point.seed] = by_key[grid_point.key]
    for runs in cases.values():
        for own in runs.values():
            _check_seeds_only(list(own.values()))
        _check_images(runs)
    order = [entry.name for entry in suite.entries]
    return {case: {name: runs[name] for name in order if name in runs} for case, runs in cases.items()}


def group_by_settings(records: Iterable[Record]) -> Runs:
    """Runs outside a suite as entries: runs that differ only in their seed form one entry.

    An entry is named after its method and the settings that distinguish it from other entries of the method.
    """
    specs: dict[str, dict[str, Any]] = {}
    groups: dict[str, dict[int, Record]] = {}
    for record in records:
        settings = {name: value for name, value in record["spec"].items() if name not in ("seed", "set")}
        settings |= record["spec"]["set"]
        key = json.dumps(settings, sort_keys=True)
        specs[key] = settings
        groups.setdefault(key, {})[record["spec"]["seed"]] = record
    return {_name(specs[key], list(specs.values())): runs for key, runs in groups.items()}


def _name(settings: Mapping[str, Any], among: Sequence[Mapping[str, Any]]) -> str:
    others = [other for other in among if other["method"] == settings["method"]]
    changed = [f"{key} {settings[key]}" for key in settings if any(other.get(key) != settings[key] for other in others)]
    return ", ".join([settings["method"], *changed])


def all_records(runs: Runs) -> list[Record]:
    """The records of all entries and seeds."""
    return [record for own in runs.values() for record in own.values()]


def _check_blocks(grid_point: GridPoint, record: Record) -> None:
    missing = [name for name in _BLOCKS if not isinstance(record.get(name), dict)]
    if missing:
        raise RunError(
            f"{_filed(grid_point)} has no {', '.join(missing)}, so it was not written by a run. "
            "Remove it, and submit the record of a run: fedbench submit RUN --suite SUITE.toml"
        )


def _check_settings(grid_point: GridPoint, record: Record) -> None:
    """A record names its own grid point, so its settings are compared with those of the grid point."""
    spec, expected = (
        record["spec"],
        {name: value for name, value in grid_point.settings.items() if name not in _RESOLVED},
    )
    pairs = [(name, value, spec.get(name)) for name, value in expected.items()]
    pairs += [(name, value, spec["set"].get(name, value)) for name, value in grid_point.settings.get("set", {}).items()]
    wrong = [f"{name} {actual} (the suite: {value})" for name, value, actual in pairs if _differ(value, actual)]
    if wrong:
        raise RunError(
            f"{_filed(grid_point)} was run with {'; '.join(wrong)}. "
            "Remove it, and run the suite again: fedbench suite run SUITE.toml"
        )


def _differ(expected: object, actual: object) -> bool:
    """Whether a setting has another value than expected; a suite may write a number as text."""
    as_text = isinstance(expected, str) and not isinstance(actual, str) and actual is not None
    return actual != expected and not as_text


def _check_seeds_only(own: Sequence[Record]) -> None:
    """Runs of one entry differ only in their seed: a default that changed between versions makes another method."""
    first, *others = own
    spec = {**first["spec"], "seed": None}
    for other in others:
        if wrong := _changed(spec, {**other["spec"], "seed": None}):
            raise RunError(
                f"Suite {first['grid_point']['suite']}: the records of {run_name(first)} and {run_name(other)} differ "
                f"in more than the seed: {wrong}. Run the entry again: fedbench suite run SUITE.toml --fresh"
            )


def _changed(spec: Record, other: Record) -> str:
    """The differences as text. An option that only one of the two versions has is not a difference."""
    if spec == other:
        return ""
    found = differences(spec, other)
    return "; ".join(str(one) for one in found if not (one.path.startswith("set.") and None in (one.before, one.now)))


def _filed(grid_point: GridPoint) -> str:
    return f"Suite {grid_point.suite}: the record of {grid_point.entry}, seed {grid_point.seed}"


def run_name(record: Record) -> str:
    """The entry and seed of a record."""
    return f"{record['grid_point']['entry']}, seed {record['grid_point']['seed']}"


def _check_images(runs: Runs) -> None:
    first, *others = all_records(runs)
    for other in others:
        if other["data"]["digest"] != first["data"]["digest"]:
            names, digests = zip(*((run_name(one), one["data"]["digest"]) for one in (first, other)), strict=True)
            raise RunError(
                f"Suite {first['grid_point']['suite']}: the records of {names[0]} and {names[1]} have different images "
                f"({digests[0]} and {digests[1]}) and can't be compared. Run one of them again."
            )
