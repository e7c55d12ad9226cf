"""A leaderboard: the filed records of a suite, ranked case by case and over datasets."""

from collections.abc import Sequence
from dataclasses import dataclass

from fedbench_core.api import RequestError
from fedbench_core.leaderboard import baselines
from fedbench_core.leaderboard.budget import Budget
from fedbench_core.leaderboard.cases import Record, by_case
from fedbench_core.leaderboard.columns import COSTS, Column, column, metric
from fedbench_core.leaderboard.table import Table, tabulate
from fedbench_core.statistics.datasets import Across, across, blocks
from fedbench_core.suites.suite import Suite


@dataclass(frozen=True)
class Leaderboard:
    """A suite's tables, and its mean ranks over datasets where it has several.

    records: how many were compared, of the `grid points` that the suite asks for; strangers: how many are filed, but belong
    to no grid point of the suite as it stands now.
    """

    suite: Suite
    ranked_by: Column
    tables: tuple[Table, ...]
    across: Across | None
    records: int
    grid_points: int
    strangers: int

    @property
    def winners(self) -> list[tuple[Table, str | None]]:
        """For each table the entry that beats all others; pooling all images is set aside, as no federation can."""
        return [(table, table.winner([self.suite.baselines.centralized])) for table in self.tables]


def build(
    suite: Suite, filed: Sequence[Record], sort: str | None = None, budgets: Sequence[Budget] = ()
) -> Leaderboard:
    """The leaderboard of a suite. `sort` ranks by another metric, or orders by a cost; budgets leave entries out.

    RequestError for an unknown column, without any record, or without the compulsory rows, which are named.
    """
    order = column(sort or suite.metric)
    ranked_by = metric(suite.metric) if order in COSTS else order
    grid_points = suite.grid_points()
    cases = by_case(suite, grid_points, filed)
    if not cases:
        raise RequestError(
            f"Suite {suite.name} has no records yet. Run it: fedbench suite run leaderboards/suites/{suite.name}.toml"
        )
    for case, runs in cases.items():
        baselines.check(suite, case, runs)
    tables = tuple(tabulate(case, runs, ranked_by, order, budgets) for case, runs in cases.items())
    keys = {grid_point.key for grid_point in grid_points}
    known = sum(record["grid_point"]["key"] in keys for record in filed)
    return Leaderboard(suite, ranked_by, tables, _across(tables), known, len(keys), len(filed) - known)


def short_names(leaderboard: Leaderboard) -> list[str]:
    """The cases of a leaderboard's tables, told by what differs between them."""
    cases = [table.case.words for table in leaderboard.tables]
    telling = [at for at, words in enumerate(zip(*cases, strict=True)) if len(set(words)) > 1]
    return [", ".join(case[at] for at in telling) for case in cases]


def _across(tables: Sequence[Table]) -> Across | None:
    """Over datasets, if there are several."""
    if len({table.case.dataset for table in tables}) == 1:
        return None
    scores = blocks((table.case.dataset, table.scores()) for table in tables)
    return across(scores, more_is_better=tables[0].ranked_by.more_is_better)
