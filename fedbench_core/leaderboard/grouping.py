"""Groups of records: by dataset, partition and backbones, then by entry and seed."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedbench_core.leaderboard.misfits import Record, Runs, misfits
from fedbench_core.records.record import RecordError
from fedbench_core.suites.filed_records import Filed
from fedbench_core.suites.grid import GridPoint
from fedbench_core.suites.held import changes, lacks_rounds
from fedbench_core.suites.resolved_specs import remembered_specs
from fedbench_core.suites.suite import Suite

DEFAULT, TUNED = "default settings", "tuned settings"


@dataclass(frozen=True)
class Case:
    """The setting of one table: a dataset, a partition and the clients' backbones.

    settings: DEFAULT or TUNED in a suite with tuning, where entries are compared with others that were treated alike.
    """

    dataset: str
    partition: str
    backbones: str
    settings: str = ""

    @classmethod
    def of(cls, point: GridPoint, suite: Suite) -> "Case":
        """The case of a grid point."""
        settings = "" if suite.tuning is None else TUNED if point.tuned else DEFAULT
        return cls(point.dataset, point.partition, point.backbones, settings)

    @property
    def parts(self) -> tuple[str, str, str, str]:
        """Dataset, partition, backbones and settings as text."""
        return self.dataset, self.partition, self.backbones.replace(",", " + "), self.settings

    def __str__(self) -> str:
        """All parts: `breastmnist, IID, resnet18 + vit`."""
        return ", ".join(filter(None, self.parts))


@dataclass(frozen=True)
class Grouped:
    """The records of a suite by case, those that are refused, and the entries that could not be resolved.

    of_last_round: entries with records of the last round only, although their scores are now means over a period.
    """

    cases: Mapping[Case, Runs]
    refused: tuple[RecordError, ...]
    unresolved: tuple[str, ...]
    of_last_round: tuple[str, ...]


def group_by_case(suite: Suite, grid_points: Sequence[GridPoint], filed: Filed) -> Grouped:
    """The records of the suite's grid points by case, in the order of the suite; only cases with a record.

    A record belongs to every grid point with its settings: a method that is listed under two names has its records
    twice. A record that differs from its grid point in a setting is refused, and so is one that doesn't fit the other
    records of its case.
    """
    refused = list(filed.refused)
    cases: dict[Case, dict[str, dict[int, Record]]] = {}
    unresolved, of_last_round = [], []
    with remembered_specs() as specs:
        recorded = [(point, specs.of(point)) for point in grid_points if point.key in filed.by_key]
    for grid_point, expected in recorded:
        path, record = filed.by_key[grid_point.key]
        if changed := changes(record, grid_point, expected.spec if expected else None):
            refused.append(RecordError(path, f"was run with {'; '.join(changed)}", _REMOVE))
            continue
        if expected is None:
            unresolved.append(grid_point.entry)
        elif lacks_rounds(record, expected.period):
            of_last_round.append(grid_point.entry)
        case = Case.of(grid_point, suite)
        cases.setdefault(case, {}).setdefault(grid_point.entry, {})[grid_point.seed] = record
    for runs in cases.values():
        for key, reason in misfits(runs).items():
            refused.append(RecordError(filed.by_key[key][0], reason, _REMOVE))
            _drop(runs, key)
    order = [entry.name for entry in suite.entries]
    sorted_cases = {case: {name: runs[name] for name in order if name in runs} for case, runs in cases.items() if runs}
    entries = (tuple(dict.fromkeys(names)) for names in (unresolved, of_last_round))
    return Grouped(sorted_cases, _distinct(refused), *entries)


_REMOVE = "Remove it, and run the suite again: fedbench suite run SUITE.toml"


def _distinct(refused: Iterable[RecordError]) -> tuple[RecordError, ...]:
    """One per file: a record may belong to several grid points."""
    return tuple({error.path: error for error in refused}.values())


def _drop(runs: dict[str, dict[int, Record]], key: str) -> None:
    for name in list(runs):
        runs[name] = {seed: record for seed, record in runs[name].items() if record["grid_point"]["key"] != key}
        if not runs[name]:
            del runs[name]


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
    changed = [
        f"{key} {_text(value)}"
        for key, value in settings.items()
        if value is not None and any(other.get(key) != value for other in (among if key in _OF_ALL_METHODS else others))
    ]
    return ", ".join([settings["method"], *changed])


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


_OF_ALL_METHODS = (
    *("rounds", "epochs", "steps", "batch_size", "lr", "optimizer", "schedule", "augmentation", "limit", "image_size"),
    *("pretrained", "fraction", "dropout", "precision"),
)
"""Settings that a fair comparison has in common: an entry is named after them if they differ between methods, too."""
