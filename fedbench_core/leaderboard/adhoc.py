"""Leaderboards of runs outside a suite: the same tables and tests, of records that are given one by one."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fedbench_core.api.errors import RequestError
from fedbench_core.leaderboard.budget import Budget
from fedbench_core.leaderboard.columns import COSTS, column, metric
from fedbench_core.leaderboard.grouping import Case, group_by_settings
from fedbench_core.leaderboard.leaderboard import Leaderboard, build_tables, over_datasets
from fedbench_core.leaderboard.misfits import Record, Runs, all_records, misfits
from fedbench_core.records.record import RecordError
from fedbench_core.suites.adhoc import BASELINES
from fedbench_core.suites.suite import Suite

NAME = "runs"
_METRIC = "personalization"


def leaderboard_of(
    records: Mapping[Path, Record], sort: str | None = None, budgets: Sequence[Budget] = ()
) -> Leaderboard:
    """The leaderboard of records by their paths, with a table for each dataset, partition and list of backbones.

    Runs that differ only in their seed are one entry. A record that doesn't fit the others of its table, such as one
    with another partition for the same seed, is refused. sort and errors: as in `build_leaderboard`.
    """
    if not records:
        raise RequestError("There are no finished runs to compare. Give the folders of finished runs.")
    order = column(sort or _METRIC)
    ranked_by = metric(_METRIC) if order in COSTS else order
    cases, refused = _fitting(_by_case(records.values()), {one["digest"]: path for path, one in records.items()})
    suite = _suite(cases, ranked_by.name)
    tables = build_tables(suite, cases, ranked_by, order, budgets)
    count = sum(len(all_records(runs)) for runs in cases.values())
    return Leaderboard(
        suite, ranked_by, tables, over_datasets(tables), records=count, grid_points=count, unmatched=0, refused=refused
    )


def _by_case(records: Iterable[Record]) -> dict[Case, dict[str, dict[int, Record]]]:
    """Case -> entry -> seed -> record, with the case and the entry in the block `grid_point` of each record."""
    found: dict[Case, list[Record]] = {}
    for record in records:
        found.setdefault(_case(record), []).append(record)
    return {
        case: {name: {seed: _placed(one, case, name) for seed, one in own.items()} for name, own in runs.items()}
        for case, runs in ((case, group_by_settings(own)) for case, own in found.items())
    }


def _case(record: Record) -> Case:
    spec, clients = record["spec"], record["population"]["clients"]
    options = [
        f"{key.partition('.')[2]} {value}" for key, value in spec["set"].items() if key.startswith("partitioner.")
    ]
    return Case(
        spec["dataset"], ", ".join([spec["partitioner"], *options, f"{clients} clients"]), ",".join(spec["backbones"])
    )


def _placed(record: Record, case: Case, entry: str) -> Record:
    where = {"dataset": case.dataset, "partition": case.partition, "backbones": case.backbones}
    block = {"suite": NAME, "entry": entry, **where, "seed": record["spec"]["seed"], "key": record["digest"]}
    return {**record, "grid_point": block}


def _fitting(
    cases: Mapping[Case, dict[str, dict[int, Record]]], paths: Mapping[str, Path]
) -> tuple[dict[Case, Runs], tuple[RecordError, ...]]:
    """The cases without the records that don't fit, and an error for each of those."""
    kept: dict[Case, Runs] = {}
    refused = []
    for case, runs in cases.items():
        odd = misfits(runs)
        refused += [RecordError(paths[key], reason, "Leave it out.") for key, reason in odd.items()]
        own = {
            name: {seed: one for seed, one in of.items() if one["grid_point"]["key"] not in odd}
            for name, of in runs.items()
        }
        kept[case] = {name: of for name, of in own.items() if of}
    return kept, tuple(refused)


def _suite(cases: Mapping[Case, Runs], metric_name: str) -> Suite:
    """A suite that names what the records have in common; the baselines are entries of the methods for them."""
    methods = {
        name: next(iter(own.values()))["spec"]["method"] for runs in cases.values() for name, own in runs.items()
    }
    named = {BASELINES[method]: name for name, method in reversed(methods.items()) if method in BASELINES}
    values: dict[str, Any] = {
        "seeds": tuple(sorted({seed for runs in cases.values() for own in runs.values() for seed in own})),
        "datasets": tuple(dict.fromkeys(case.dataset for case in cases)),
        "backbones": tuple(dict.fromkeys(case.backbones for case in cases)),
        "entries": [{"name": name, "method": method} for name, method in methods.items()],
        "baselines": named,
    }
    return Suite(name=NAME, question="How do these runs compare?", metric=metric_name, **values)
