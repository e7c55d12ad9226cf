"""Filed records laid out as they are compared: by dataset, partition and backbones, then by entry and seed."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedbench_core.api import RunError
from fedbench_core.records.differences import differences
from fedbench_core.suites.suite import Cell, Suite

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


def by_case(suite: Suite, cells: Iterable[Cell], filed: Iterable[Record]) -> dict[Case, Runs]:
    """The records that belong to the suite's cells, in its order; cases without any record are not among them.

    A record serves every cell that asks for its settings, so one method under two names has the same records twice.
    RunError names a record that was not made with what its cell asks for, two of one entry that differ in more than
    the seed, and two of one case that were made with different images.
    """
    by_key = {record["cell"]["key"]: record for record in filed}
    cases: dict[Case, dict[str, dict[int, Record]]] = {}
    for cell in cells:
        if cell.key in by_key:
            _refuse_a_part(cell, by_key[cell.key])
            _refuse_other_settings(cell, by_key[cell.key])
            runs = cases.setdefault(Case(cell.dataset, cell.partition, cell.backbones), {})
            runs.setdefault(cell.entry, {})[cell.seed] = by_key[cell.key]
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


def _refuse_a_part(cell: Cell, record: Record) -> None:
    missing = [name for name in _BLOCKS if not isinstance(record.get(name), dict)]
    if missing:
        raise RunError(
            f"{_filed(cell)} has no {', '.join(missing)}, so no run has written it. "
            "Remove it, and file a run's own: fedbench submit RUN --suite SUITE.toml"
        )


def _refuse_other_settings(cell: Cell, record: Record) -> None:
    """Only the record itself says which cell it is of."""
    spec, asked = record["spec"], {name: value for name, value in cell.settings.items() if name not in _APART}
    pairs = [(name, value, spec.get(name)) for name, value in asked.items()]
    pairs += [(name, value, spec["set"].get(name, value)) for name, value in cell.settings.get("set", {}).items()]
    wrong = [f"{name} {made} (the suite: {value})" for name, value, made in pairs if _differ(value, made)]
    if wrong:
        raise RunError(
            f"{_filed(cell)} was made with {'; '.join(wrong)}. "
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
                f"Suite {first['cell']['suite']}: the records of {name_of(first)} and of {name_of(other)} are no "
                f"repeats of one run: {wrong}. Run again what is out of date: fedbench suite run SUITE.toml --fresh"
            )


def _changed(spec: Record, other: Record) -> str:
    """What differs. An option that one of two versions did not have yet is not a change: pages tell the versions."""
    if spec == other:
        return ""
    found = differences(spec, other)
    return "; ".join(str(one) for one in found if not (one.path.startswith("set.") and None in (one.before, one.now)))


def _filed(cell: Cell) -> str:
    return f"Suite {cell.suite}: the record that is filed as {cell.entry}, seed {cell.seed}"


def name_of(record: Record) -> str:
    """Which run a record is of, in words: its entry and seed."""
    return f"{record['cell']['entry']}, seed {record['cell']['seed']}"


def _refuse_other_images(runs: Runs) -> None:
    first, *others = each(runs)
    for other in others:
        if other["data"]["digest"] != first["data"]["digest"]:
            names = [name_of(record) for record in (first, other)]
            digests = [record["data"]["digest"] for record in (first, other)]
            raise RunError(
                f"Suite {first['cell']['suite']}: the records of {names[0]} and of {names[1]} were made with different "
                f"images ({digests[0]} and {digests[1]}) and can't be compared. Run one of them again."
            )
