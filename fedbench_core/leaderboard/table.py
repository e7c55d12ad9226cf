"""One table of a leaderboard: the ranked entries of a case."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from fedbench_core.leaderboard.budget import Budget, OverBudget, within_budgets
from fedbench_core.leaderboard.columns import COSTS, MEGA, Column, hurt, scores, selected
from fedbench_core.leaderboard.grouping import Case
from fedbench_core.leaderboard.image_check import images_of
from fedbench_core.leaderboard.misfits import Record, Runs, all_records
from fedbench_core.records.costs import bytes_per_turn
from fedbench_core.records.schema import LIBRARIES
from fedbench_core.records.scored import scored
from fedbench_core.statistics.intervals import Interval, defined_mean, mean_interval, mean_intervals
from fedbench_core.statistics.pairs import Pair, compare, minimum_detectable_difference
from fedbench_core.statistics.ranks import rank_intervals
from fedbench_core.suites.choices import Choice
from fedbench_core.suites.controls import Controls

_CORE = "fedbench-core"
_NO_PLUGINS = (_CORE, *LIBRARIES, "python")


@dataclass(frozen=True)
class Row:
    """An entry: its origin, its rank interval, and the mean and interval over seeds of each column by name.

    rank: None in a table that is not ranked. bytes_per_turn: per client and round, mean over runs. model: the role of
    the models that are ranked; other_models: the ranked score of the clients' other models, by role. fixed: settings
    that the entry sets itself and that others were tuned in.
    """

    entry: str
    method: str
    plugin: str
    fidelity: str
    backbones: str
    model: str
    rank: tuple[int, int] | None
    intervals: Mapping[str, Interval]
    bytes_per_turn: float
    other_models: Mapping[str, Interval]
    fixed: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The entry, with a dagger if its method is a reconstruction, and a double one if it was tuned otherwise."""
        marks = [mark for mark, given in (("†", self.fidelity != "full"), ("‡", self.fixed)) if given]
        return " ".join([self.entry, *marks])

    @property
    def megabytes(self) -> float:
        """MB per client and round, up, down and between peers; each message is counted once."""
        return self.bytes_per_turn / MEGA


@dataclass(frozen=True)
class Table:
    """The rows of a case in their order, the tests between all pairs of entries, and the records.

    image_check: whether the tests include the sampling of test images.
    left_out: entries that exceed a budget. why_unranked: missing baselines, without which there are no ranks; commands:
    those that compute them, as far as they are known. hurt: the column with the share of clients that an entry hurts.
    tuned: what tuning chose for each entry, if they are tuned. controls: the entries without the idea that the method
    of another one claims.
    """

    case: Case
    ranked_by: Column
    rows: tuple[Row, ...]
    pairs: tuple[Pair, ...]
    minimum_detectable_difference: float
    image_check: bool
    runs: Runs
    left_out: tuple[OverBudget, ...]
    why_unranked: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    hurt: Column | None = None
    tuned: Mapping[str, Choice] = field(default_factory=dict)
    controls: Controls = field(default_factory=dict)

    @cached_property
    def scored(self) -> tuple[Column, ...]:
        """The score columns, the ranked one first."""
        return _scored(self.runs, self.ranked_by, self.hurt)

    @property
    def quality(self) -> tuple[Column, ...]:
        """The score columns: the ranked one, the same after the best validation round, the others."""
        return _with_selected(self.scored)

    def better_than(self, baseline: str | None) -> list[str]:
        """The entries that are significantly better than a baseline."""
        return [better for better, worse in self.claims if worse == baseline]

    @property
    def claims(self) -> list[tuple[str, str]]:
        """The pairs that differ significantly, the better entry first."""
        more_is_better = self.ranked_by.more_is_better
        return [pair.ordered(more_is_better=more_is_better) for pair in self.pairs if pair.significant]

    @property
    def references(self) -> list[str]:
        """The entries that are no federated method: one model was trained on the images of all clients."""
        return [name for name, own in self.runs.items() if all(map(_is_centralized, own.values()))]

    def scores(self) -> dict[str, dict[int, float | None]]:
        """The ranked scores: entry -> seed -> score."""
        return _scores(self.runs, self.ranked_by)

    def winner(self) -> str | None:
        """The entry that is significantly better than all others that are not references, or None."""
        names = [row.entry for row in self.rows if row.entry not in self.references and row.rank is not None]
        pairs = [pair for pair in self.pairs if pair.a in names and pair.b in names]
        ranks = rank_intervals(names, pairs, more_is_better=self.ranked_by.more_is_better)
        return next((name for name, rank in ranks.items() if rank == (1, 1)), None) if pairs else None


def build_table(
    case: Case,
    runs: Runs,
    ranked_by: Column,
    order: Column,
    budgets: Sequence[Budget] = (),
    planned: Collection[frozenset[str]] = frozenset(),
    why_unranked: tuple[str, ...] = (),
    alone: str | None = None,
    tuned: Mapping[str, Choice] | None = None,
) -> Table:
    """The table of a case: the entries within the budgets, ranked by one column and sorted by another.

    why_unranked: what is wrong with the compulsory baselines; without them there are no ranks. alone: the entry of
    local training with equal steps, if any.
    """
    tuned = tuned or {}
    kept, left_out = within_budgets(runs, budgets)
    images = images_of(kept, ranked_by.name)
    pairs = compare(_scores(kept, ranked_by), images, planned)
    ranks = {} if why_unranked else rank_intervals(kept, pairs, more_is_better=ranked_by.more_is_better)
    harmed = hurt(runs[alone]) if alone is not None and alone in runs else None
    intervals = _intervals(kept, (*_with_selected(_scored(kept, ranked_by, harmed)), *COSTS))
    rows = [
        _row(name, list(own.values()), ranked_by, ranks.get(name), intervals[name], tuned.get(name))
        for name, own in kept.items()
    ]
    rows.sort(key=lambda row: _sort_key(row.intervals[order.name].mean, order))
    return Table(
        case=case,
        ranked_by=ranked_by,
        rows=tuple(rows),
        pairs=tuple(pairs),
        minimum_detectable_difference=minimum_detectable_difference(pairs),
        image_check=images is not None,
        runs=kept,
        left_out=tuple(left_out),
        why_unranked=why_unranked,
        hurt=harmed,
        tuned=tuned,
    )


def _scored(runs: Runs, ranked_by: Column, hurt: Column | None) -> tuple[Column, ...]:
    unseen = any(record["population"].get("held_out") for record in all_records(runs))
    return (*scores(ranked_by, unseen=unseen), *([hurt] if hurt else []))


def _is_centralized(record: Record) -> bool:
    return bool(record["population"]["trained"] < record["population"]["clients"])


def _with_selected(columns: Sequence[Column]) -> tuple[Column, ...]:
    first, *others = columns
    return (first, selected(first), *others)


def _scores(runs: Runs, column: Column) -> dict[str, dict[int, float | None]]:
    return {name: {seed: column.read(record) for seed, record in own.items()} for name, own in runs.items()}


def _sort_key(mean: float, order: Column) -> float:
    """Undefined values are sorted last."""
    if math.isnan(mean):
        return math.inf
    return -mean if order.more_is_better else mean


def _intervals(runs: Runs, columns: Sequence[Column]) -> dict[str, dict[str, Interval]]:
    """The intervals of all columns of all entries, in one vectorized call."""
    longest = max(map(len, runs.values()), default=0)
    table = np.full((longest, len(runs), len(columns)), np.nan)
    for at, own in enumerate(runs.values()):
        table[: len(own), at] = [[column.read(record) for column in columns] for record in own.values()]
    found = iter(mean_intervals(table.reshape(longest, len(runs) * len(columns))))
    return {
        name: {column.name: _of_own_runs(next(found), len(own)) for column in columns} for name, own in runs.items()
    }


def _of_own_runs(interval: Interval, runs: int) -> Interval:
    """Entries with fewer runs than others are padded with NaN; padding is not an undefined value."""
    return replace(interval, left_out=runs - interval.count)


def _row(
    name: str,
    records: Sequence[Record],
    ranked_by: Column,
    rank: tuple[int, int] | None,
    intervals: Mapping[str, Interval],
    choice: Choice | None,
) -> Row:
    return Row(
        entry=name,
        method=records[0]["spec"]["method"],
        plugin=_distinct(map(_plugin, records)),
        fidelity=records[0]["method"]["fidelity"],
        backbones=_distinct(map(_backbones, records)),
        model=_distinct(record["test"]["role"] for record in records),
        rank=rank,
        intervals=intervals,
        bytes_per_turn=defined_mean(list(map(bytes_per_turn, records)))[0],
        other_models=_other_models(records, ranked_by.name),
        fixed=choice.fixed if choice else (),
    )


def _other_models(records: Sequence[Record], metric: str) -> dict[str, Interval]:
    roles = dict.fromkeys(role for record in records for role in record["test"]["roles"])
    return {
        role: mean_interval([scored(one, role).metrics.get(metric) for one in records if role in one["test"]["roles"]])
        for role in roles
    }


def _distinct(texts: Iterable[str]) -> str:
    """The distinct values over the records of an entry, which may have been made with different versions."""
    return " / ".join(dict.fromkeys(texts))


def _plugin(record: Record) -> str:
    """The distributions that provide the parts of a run, with their versions."""
    versions = record["versions"]
    plugins = [name for name in versions if name not in _NO_PLUGINS] or [_CORE]
    return ", ".join(f"{name} {versions[name]}" for name in plugins)


def _backbones(record: Record) -> str:
    """The backbones of the clients, and further ones that the method builds."""
    own = list(dict.fromkeys(record["population"]["backbones"]))
    further = [name for name in record["costs"]["backbones"] if name not in own]
    return ", ".join(own) + (f"; with {', '.join(further)}" if further else "")
