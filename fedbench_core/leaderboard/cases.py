"""Filed records laid out as they are compared: by dataset, partition and backbones, then by entry and seed."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedbench_core.api import RunError
from fedbench_core.records.differences import differences
from fedbench_core.suites.suite import GridPoint, Suite

Record = Mapping[str, Any]
Runs = Mapping[str, Mapping[int, Record]]
"""Entry -> seed -> record, in the order of the suite."""
_BLOCKS = ("spec", "method", "data", "population", "test", "costs", "versions", "how")
_APART = ("backbones", "set")
"""Settings that are not compared whole: backbones may be asked for by another name, and options are resolved."""


@dataclass(frozen=True)
class Case:
    """What one table compares on."""

    dataset: str
    partition: str
    backbones: str

    @property
    def words(self) -> tuple[str, str, str]:
        """Its parts as a reader is told them."""
        return self.dataset, self.partition, self.backbones.replace(",", " + ")

    def __str__(self) -> str:
        """All of them."""
        return ", ".join(self.words)


def by_case(suite: Suite, grid_points: Iterable[GridPoint], filed: Iterable[Record]) -> dict[Case, Runs]:
    """The records that belong to the suite's grid points, in its order; cases without any record are not among them.

    A record serves every grid point that asks for its settings, so one method under two names has the same records twice.
    RunError names a record that was not made with what its grid point asks for, two of one entry that differ in more than
    the seed, and two of one case that were made with different images.
    """
    by_key = {record["grid_point"]["key"]: record for record in filed}
    cases: dict[Case, dict[str, dict[int, Record]]] = {}
    for grid_point in grid_points:
        if grid_point.key in by_key:
            _refuse_a_part(grid_point, by_key[grid_point.key])
            _refuse_other_settings(grid_point, by_key[grid_point.key])
            runs = cases.setdefault(Case(grid_point.dataset, grid_point.partition, grid_point.backbones), {})
            runs.setdefault(grid_point.entry, {})[grid_point.seed] = by_key[grid_point.key]
    for runs in cases.values():
        for own in runs.values():
            _refuse_other_specs(list(own.values()))
        _refuse_other_images(runs)
    order = [entry.name for entry in suite.entries]
    return {case: {name: runs[name] for name in order if name in runs} for case, runs in cases.items()}


def by_settings(records: Iterable[Record]) -> Runs:
    """Runs that are of no suite, as entries: those that differ in nothing but the seed are one.

    An entry is called after its method, and after the settings in which it differs from others of that method.
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
    rivals = [other for other in among if other["method"] == settings["method"]]
    told = [f"{key} {settings[key]}" for key in settings if any(other.get(key) != settings[key] for other in rivals)]
    return ", ".join([settings["method"], *told])


def each(runs: Runs) -> list[Record]:
    """All records of a case."""
    return [record for own in runs.values() for record in own.values()]


def _refuse_a_part(grid_point: GridPoint, record: Record) -> None:
    missing = [name for name in _BLOCKS if not isinstance(record.get(name), dict)]
    if missing:
        raise RunError(
            f"{_filed(grid_point)} has no {', '.join(missing)}, so no run has written it. "
            "Remove it, and file a run's own: fedbench submit RUN --suite SUITE.toml"
        )


def _refuse_other_settings(grid_point: GridPoint, record: Record) -> None:
    """Only the record itself says which grid point it is of."""
    spec, asked = record["spec"], {name: value for name, value in grid_point.settings.items() if name not in _APART}
    pairs = [(name, value, spec.get(name)) for name, value in asked.items()]
    pairs += [(name, value, spec["set"].get(name, value)) for name, value in grid_point.settings.get("set", {}).items()]
    wrong = [f"{name} {made} (the suite: {value})" for name, value, made in pairs if _differ(value, made)]
    if wrong:
        raise RunError(
            f"{_filed(grid_point)} was made with {'; '.join(wrong)}. "
            "Remove it, and file what the suite asks for: fedbench suite run SUITE.toml"
        )


def _differ(asked: object, made: object) -> bool:
    """Whether a setting is another than was asked for; text may stand for a number."""
    return made != asked and not (isinstance(asked, str) and not isinstance(made, str) and made is not None)


def _refuse_other_specs(own: Sequence[Record]) -> None:
    """Runs of one entry are repeats: a default that changed between two versions would make them two methods."""
    first, *others = own
    spec = {**first["spec"], "seed": None}
    for other in others:
        if wrong := _changed(spec, {**other["spec"], "seed": None}):
            raise RunError(
                f"Suite {first['grid_point']['suite']}: the records of {name_of(first)} and of {name_of(other)} are no "
                f"repeats of one run: {wrong}. Run again what is out of date: fedbench suite run SUITE.toml --fresh"
            )


def _changed(spec: Record, other: Record) -> str:
    """What differs. An option that one of two versions did not have yet is not a change: pages tell the versions."""
    if spec == other:
        return ""
    found = differences(spec, other)
    return "; ".join(str(one) for one in found if not (one.path.startswith("set.") and None in (one.before, one.now)))


def _filed(grid_point: GridPoint) -> str:
    return f"Suite {grid_point.suite}: the record that is filed as {grid_point.entry}, seed {grid_point.seed}"


def name_of(record: Record) -> str:
    """Which run a record is of, in words: its entry and seed."""
    return f"{record['grid_point']['entry']}, seed {record['grid_point']['seed']}"


def _refuse_other_images(runs: Runs) -> None:
    first, *others = each(runs)
    for other in others:
        if other["data"]["digest"] != first["data"]["digest"]:
            names = [name_of(record) for record in (first, other)]
            digests = [record["data"]["digest"] for record in (first, other)]
            raise RunError(
                f"Suite {first['grid_point']['suite']}: the records of {names[0]} and of {names[1]} were made with different "
                f"images ({digests[0]} and {digests[1]}) and can't be compared. Run one of them again."
            )
