"""Leaderboards of runs outside a suite: the same tables and tests, of records that are given one by one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fedbench_core.api.errors import RequestError
from fedbench_core.federation.spec import digest_of
from fedbench_core.leaderboard.baseline_runs import commands, named
from fedbench_core.leaderboard.budget import Budget
from fedbench_core.leaderboard.columns import COSTS, Column, column, metric
from fedbench_core.leaderboard.grouping import Case, group_by_settings
from fedbench_core.leaderboard.leaderboard import Leaderboard, build_tables, over_datasets
from fedbench_core.leaderboard.misfits import Record, Runs, all_records, misfits
from fedbench_core.leaderboard.table import Table
from fedbench_core.records.record import RecordError
from fedbench_core.suites.adhoc import baseline_of
from fedbench_core.suites.controls import controls_of
from fedbench_core.suites.filed_records import differing_blocks
from fedbench_core.suites.ranking import default_metric
from fedbench_core.suites.resolved_specs import remembered_specs
from fedbench_core.suites.suite import Suite

NAME = "runs"


def leaderboard_of(
    records: Mapping[Path, Record], sort: str | None = None, budgets: Sequence[Budget] = ()
) -> Leaderboard:
    """The leaderboard of records by their paths, with a table for each dataset, partition and list of backbones.

    Runs that differ only in their seed are one entry. A record that doesn't fit the others of its table, such as one
    with another partition for the same seed, is refused, and so is a second record of one spec that differs from the
    first. sort and errors: as in `build_leaderboard`.
    """
    if not records:
        raise RequestError("There are no finished runs to compare. Give the folders of finished runs.")
    records, repeated = _of_distinct_runs(records)
    own = default_metric(records.values())
    order = column(sort or own)
    ranked_by = metric(own) if order in COSTS else order
    paths = {one["digest"]: path for path, one in records.items()}
    cases, refused = _fitting(_by_case(records.values()), paths)
    suite = _suite(cases, ranked_by.name)
    tables = tuple(_table(case, runs, ranked_by, order, budgets, paths) for case, runs in cases.items())
    count = sum(len(all_records(runs)) for runs in cases.values())
    return Leaderboard(
        *(suite, ranked_by, tables, over_datasets(tables)),
        records=count,
        grid_points=count,
        unmatched=0,
        refused=(*repeated, *refused),
    )


def _of_distinct_runs(records: Mapping[Path, Record]) -> tuple[dict[Path, Record], list[RecordError]]:
    """The first record of each spec, and an error for each further one that differs from it."""
    kept: dict[str, tuple[Path, Record]] = {}
    refused = []
    for path, record in records.items():
        first, one = kept.setdefault(digest_of(record["spec"]), (path, record))
        if blocks := differing_blocks(one, record):
            reason = f"has the settings and the seed of {first}, and differs in {blocks}"
            refused.append(RecordError(path, reason, "Leave one out."))
    return dict(kept.values()), refused


def _table(
    case: Case, runs: Runs, ranked_by: Column, order: Column, budgets: Sequence[Budget], paths: Mapping[str, Path]
) -> Table:
    """The table of a case, with the commands for the baselines that it lacks."""
    suite = _suite({case: runs}, ranked_by.name)
    with remembered_specs() as specs:
        resolved = {name: specs.of_settings(next(iter(own.values()))["spec"]) for name, own in runs.items()}
    controls = controls_of(resolved, suite.baselines.controls)
    [table] = build_tables(suite, {case: runs}, ranked_by, order, budgets, controls)
    return replace(table, commands=commands(suite, runs, paths, controls) if table.why_unranked else ())


def _by_case(records: Iterable[Record]) -> dict[Case, dict[str, dict[int, Record]]]:
    """Case -> entry -> seed -> record, with the case and the entry in the block `grid_point` of each record."""
    found: dict[Case, list[Record]] = {}
    for record in records:
        found.setdefault(_case(record), []).append(record)
    return {
        case: {name: {seed: _placed(one, case, name) for seed, one in own.items()} for name, own in runs.items()}
        for case, runs in ((case, group_by_settings(own)) for case, own in _with_one_backbone(found).items())
    }


def _with_one_backbone(found: Mapping[Case, Sequence[Record]]) -> dict[Case, list[Record]]:
    """The records by case, with baselines of one model for all clients in the cases of a list that has its backbone.

    They leave their own case if nothing else is in it.
    """
    joined = {case: list(own) for case, own in found.items()}
    for case, own in found.items():
        models = [record for record in own if baseline_of(record["spec"]["method"]) in ("centralized", "tuned")]
        lists = [other for other in found if other != case and _has_backbone(other, case)]
        for other in lists:
            joined[other] += models
        if lists and len(models) == len(own):
            del joined[case]
    return joined


def _has_backbone(case: Case, single: Case) -> bool:
    """Whether `single` has the same images, and one of the backbones of `case`."""
    return replace(case, backbones=single.backbones) == single and single.backbones in case.backbones.split(",")


def _case(record: Record) -> Case:
    spec, clients = record["spec"], f"{record['population']['clients']} clients"
    if held_out := spec["hold_out_clients"] + spec["hold_out_sites"]:
        clients += f" and {held_out} held out"
    options = [
        f"{key.partition('.')[2]} {value}" for key, value in spec["set"].items() if key.startswith("partitioner.")
    ]
    return Case(spec["dataset"], ", ".join([spec["partitioner"], *options, clients]), ",".join(spec["backbones"]))


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
    values: dict[str, Any] = {
        "seeds": tuple(sorted({seed for runs in cases.values() for own in runs.values() for seed in own})),
        "datasets": tuple(dict.fromkeys(case.dataset for case in cases)),
        "backbones": tuple(dict.fromkeys(case.backbones for case in cases)),
        "entries": [{"name": name, "method": method} for name, method in methods.items()],
        "baselines": {kind: name for runs in cases.values() for kind, name in named(runs).items()},
    }
    return Suite(name=NAME, question="How do these runs compare?", metric=metric_name, **values)
