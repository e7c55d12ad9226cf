"""One table of a leaderboard: the entries of a case, ranked by what may be claimed of them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fedbench_core.leaderboard.budget import Budget, LeftOut, within
from fedbench_core.leaderboard.cases import Case, Record, Runs
from fedbench_core.leaderboard.columns import COSTS, Column, scores, selected
from fedbench_core.leaderboard.images import checked
from fedbench_core.statistics.intervals import Interval, mean_intervals
from fedbench_core.statistics.pairs import Pair, compare, smallest_claimable
from fedbench_core.statistics.ranks import rank_intervals

_CORE = "fedbench-core"
_LIBRARIES = (_CORE, "torch", "timm", "numpy", "torchmetrics", "python")


@dataclass(frozen=True)
class Row:
    """An entry: who made it, and every column's mean and interval over seeds, by the column's name."""

    entry: str
    method: str
    plugin: str
    fidelity: str
    backbones: str
    rank: tuple[int, int]
    values: Mapping[str, Interval]

    @property
    def name(self) -> str:
        """The entry, marked where its method is reconstructed from less than its paper's full text."""
        return self.entry if self.fidelity == "full" else f"{self.entry} †"


@dataclass(frozen=True)
class Table:
    """A case: its rows in the order shown, every pair of entries, and the records behind them.

    smallest: the smallest difference that could have been claimed. image_check: whether claims were held against
    another draw of test images as well. left_out: what is beyond the budget.
    """

    case: Case
    ranked_by: Column
    rows: tuple[Row, ...]
    pairs: tuple[Pair, ...]
    smallest: float
    image_check: bool
    runs: Runs
    left_out: tuple[LeftOut, ...]

    @property
    def quality(self) -> tuple[Column, ...]:
        """The columns of scores: the one that is ranked, the same after the round that validation chose, the others."""
        first, *others = scores(self.ranked_by)
        return (first, selected(first), *others)

    def scores(self) -> dict[str, dict[int, float | None]]:
        """What is ranked: entry -> seed -> score."""
        return _read(self.runs, self.ranked_by)

    def winner(self, aside: Sequence[str | None] = ()) -> str | None:
        """The entry that is claimed to be better than every other, those `aside` left out; None without a claim."""
        names = [row.entry for row in self.rows if row.entry not in aside]
        pairs = [pair for pair in self.pairs if pair.a in names and pair.b in names]
        ranks = rank_intervals(names, pairs, more_is_better=self.ranked_by.more_is_better)
        return next((name for name, rank in ranks.items() if rank == (1, 1)), None) if pairs else None


def tabulate(case: Case, runs: Runs, ranked_by: Column, order: Column, budgets: Sequence[Budget] = ()) -> Table:
    """The table of a case: entries within the budgets, ranked by one column, shown in the order of another."""
    kept, left_out = within(runs, budgets)
    ranked = _read(kept, ranked_by)
    tested = compare(ranked)
    pairs, image_check = checked(tested, kept, ranked_by.name)
    ranks = rank_intervals(kept, pairs, more_is_better=ranked_by.more_is_better)
    values = _values(kept, ranked_by)
    rows = [_row(name, list(own.values()), ranks[name], values[name]) for name, own in kept.items()]
    rows.sort(key=lambda row: _place(row.values[order.name].mean, order))
    smallest = smallest_claimable(tested)
    return Table(case, ranked_by, tuple(rows), tuple(pairs), smallest, image_check, kept, tuple(left_out))


def _read(runs: Runs, column: Column) -> dict[str, dict[int, float | None]]:
    return {name: {seed: column.read(record) for seed, record in own.items()} for name, own in runs.items()}


def _place(mean: float, order: Column) -> float:
    """What is undefined comes last."""
    if math.isnan(mean):
        return math.inf
    return -mean if order.more_is_better else mean


def _values(runs: Runs, ranked_by: Column) -> dict[str, dict[str, Interval]]:
    """Every column of every entry over its seeds; all at once, because each call of the statistics has its price."""
    first, *others = scores(ranked_by)
    columns = (first, selected(first), *others, *COSTS)
    longest = max(map(len, runs.values()), default=0)
    told = np.full((longest, len(runs), len(columns)), np.nan)
    for at, own in enumerate(runs.values()):
        told[: len(own), at] = [[column.read(record) for column in columns] for record in own.values()]
    found = iter(mean_intervals(told.reshape(longest, len(runs) * len(columns))))
    return {name: {column.name: _among(next(found), len(own)) for column in columns} for name, own in runs.items()}


def _among(interval: Interval, runs: int) -> Interval:
    """What is left out is counted among an entry's own runs, and not among those of the entry with the most."""
    return replace(interval, left_out=runs - interval.count)


def _row(name: str, records: Sequence[Record], rank: tuple[int, int], values: Mapping[str, Interval]) -> Row:
    return Row(
        entry=name,
        method=records[0]["spec"]["method"],
        plugin=_several(map(_plugin, records)),
        fidelity=records[0]["method"]["fidelity"],
        backbones=_several(map(_backbones, records)),
        rank=rank,
        values=values,
    )


def _several(words: Iterable[str]) -> str:
    """What the records of an entry say, each once: more than one where they were made with different versions."""
    return " / ".join(dict.fromkeys(words))


def _plugin(record: Record) -> str:
    """The distributions that a run's parts come from; the core, where it brings them all."""
    versions = record["versions"]
    plugins = [name for name in versions if name not in _LIBRARIES] or [_CORE]
    return ", ".join(f"{name} {versions[name]}" for name in plugins)


def _backbones(record: Record) -> str:
    """Those of the clients, and those that the method builds besides."""
    own = list(dict.fromkeys(record["population"]["backbones"]))
    further = [name for name in record["costs"]["backbones"] if name not in own]
    return ", ".join(own) + (f"; with {', '.join(further)}" if further else "")
