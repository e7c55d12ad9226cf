"""A leaderboard: the records of a suite, ranked by case and over datasets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from fedbench_core.api import RequestError
from fedbench_core.leaderboard import baselines
from fedbench_core.leaderboard.budget import Budget
from fedbench_core.leaderboard.columns import COSTS, Column, column, metric
from fedbench_core.leaderboard.grouping import DEFAULT, TUNED, Case, group_by_case
from fedbench_core.leaderboard.misfits import Runs, all_records
from fedbench_core.leaderboard.table import Table, build_table
from fedbench_core.records.record import RecordError
from fedbench_core.statistics.friedman import DatasetRanks, dataset_means, rank_over_datasets
from fedbench_core.suites.choices import Choice
from fedbench_core.suites.controls import Controls, pairs_of, suite_controls
from fedbench_core.suites.filed_records import Filed
from fedbench_core.suites.suite import Suite

_MOST_REFUSED = 10


class UnusableError(RequestError):
    """A suite has no record that can be ranked. refused: the files that are no records of it."""

    def __init__(self, text: str, refused: tuple[RecordError, ...]) -> None:
        super().__init__(text)
        self.refused = refused


@dataclass(frozen=True)
class Leaderboard:
    """The tables of a suite, and mean ranks over datasets if it has several.

    records: the number of records compared; grid_points: the number of runs in the suite; unmatched: the number of
    records that belong to no grid point of the suite in its present state; refused: files that are not counted;
    unresolved: entries with a part that is not installed, whose records were compared with the suite file only;
    of_last_round: entries with records of the last round only, although their scores are now means over a period;
    verified: who repeated a run with equal results, by the key of its grid point.
    """

    suite: Suite
    ranked_by: Column
    tables: tuple[Table, ...]
    over_datasets: DatasetRanks | None
    records: int
    grid_points: int
    unmatched: int
    refused: tuple[RecordError, ...] = ()
    unresolved: tuple[str, ...] = ()
    of_last_round: tuple[str, ...] = ()
    verified: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def winners(self) -> list[tuple[Table, str | None]]:
        """For each table the entry that is significantly better than all others, not counting centralized training."""
        return [(table, table.winner()) for table in self.tables]


def build_leaderboard(
    suite: Suite, filed: Filed, sort: str | None = None, budgets: Sequence[Budget] = ()
) -> Leaderboard:
    """The leaderboard of a suite from its records. A table without its compulsory baselines is not ranked.

    sort: another metric to rank by, or a cost to sort by. RequestError for an unknown column, UnusableError if there
    are no records.
    """
    if sort is not None:
        column(sort)  # an unknown name is told before records are missed
    grid_points = suite.grid_points()
    grouped = group_by_case(suite, grid_points, filed)
    if not grouped.cases:
        refused = "".join(f"\nRefused: {error}" for error in grouped.refused[:_MOST_REFUSED])
        text = f"Suite {suite.name} has no records yet. Run it: fedbench suite run {suite.file}{refused}"
        raise UnusableError(text, grouped.refused)
    own = suite.ranked_by(record for runs in grouped.cases.values() for record in all_records(runs))
    order = column(sort or own)
    ranked_by = metric(own) if order in COSTS else order
    tables = build_tables(suite, grouped.cases, ranked_by, order, budgets, suite_controls(suite))
    keys = {grid_point.key for grid_point in grid_points}
    known = {record["grid_point"]["key"] for table in grouped.cases.values() for record in all_records(table)}
    return Leaderboard(
        suite,
        ranked_by,
        tables,
        over_datasets(tables),
        records=len(known),
        grid_points=len(keys),
        unmatched=len(filed.by_key.keys() - keys),
        refused=grouped.refused,
        unresolved=grouped.unresolved,
        of_last_round=grouped.of_last_round,
        verified={key: filed.verified[key] for key in filed.verified if key in known},
    )


def _choices(suite: Suite, case: Case) -> dict[str, Choice]:
    """What tuning chose for a case of tuned settings, by entry."""
    if case.settings != TUNED:
        return {}
    own = replace(case, settings=DEFAULT)
    points = [point for point in suite.default_points(suite.seeds[:1]) if Case.of(point, suite) == own]
    chosen = {point.entry: suite.choice(point) for point in points}
    return {entry: choice for entry, choice in chosen.items() if choice is not None}


def case_labels(leaderboard: Leaderboard) -> list[str]:
    """A label for each table: the parts of its case that differ between tables."""
    cases = [table.case.parts for table in leaderboard.tables]
    varying = [at for at, parts in enumerate(zip(*cases, strict=True)) if len(set(parts)) > 1]
    return [", ".join(case[at] for at in varying) for case in cases]


def build_tables(
    suite: Suite,
    cases: Mapping[Case, Runs],
    ranked_by: Column,
    order: Column,
    budgets: Sequence[Budget],
    controls: Controls,
) -> tuple[Table, ...]:
    """The table of each case; one without the compulsory baselines of the suite is not ranked."""
    planned = suite.planned_pairs or pairs_of(controls)
    return tuple(
        replace(
            build_table(
                *(case, runs, ranked_by, order, budgets, planned),
                why_unranked=tuple(baselines.missing(suite, runs, controls)),
                alone=suite.baselines.steps,
                tuned=_choices(suite, case),
            ),
            controls={name: control for name, control in controls.items() if name in runs},
        )
        for case, runs in cases.items()
    )


def over_datasets(tables: Sequence[Table]) -> DatasetRanks | None:
    """Mean ranks over datasets, with tuned settings if there are any; None for a single dataset or without ranks."""
    tables = [table for table in tables if table.case.settings == TUNED] or tables
    if len({table.case.dataset for table in tables}) == 1 or any(table.why_unranked for table in tables):
        return None
    scores = dataset_means((table.case.dataset, table.scores()) for table in tables)
    return rank_over_datasets(scores, more_is_better=tables[0].ranked_by.more_is_better)
