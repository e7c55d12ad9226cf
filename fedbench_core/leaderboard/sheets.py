"""A table's grid points as text, the same for terminals, Markdown and LaTeX."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fedbench_core.leaderboard.columns import COSTS, Column, scores, selected
from fedbench_core.leaderboard.digits import MOST, measured
from fedbench_core.leaderboard.table import Row, Table
from fedbench_core.statistics.datasets import Across
from fedbench_core.statistics.intervals import Interval

_GAP = 3
"""Characters between columns on a terminal."""
_SCORE = 3
"""Decimals of a score: on ten thousand test images the next would be noise."""


@dataclass(frozen=True)
class Sheet:
    """Headings and rows of text; `left` are the headings of columns of words."""

    headings: list[str]
    rows: list[list[str]]
    left: frozenset[str]


def sheets(table: Table) -> list[Sheet]:
    """What a leaderboard shows of a case: qualities, costs, and where the entries come from.

    Three, because one of sixteen columns fits on no page.
    """
    return [_quality(table), _cost(table), _origin(table)]


def _quality(table: Table) -> Sheet:
    columns = scores(table.ranked_by)
    rows = [[rank_text(row.rank), row.name, *_values(row, columns)] for row in table.rows]
    return Sheet(["rank", "entry", *(column.arrowed for column in columns)], rows, frozenset({"entry"}))


def _cost(table: Table) -> Sheet:
    """With the score after the round that validation chose: what stopping there would have given."""
    chosen = selected(table.ranked_by)
    rows = [[row.name, *_values(row, (chosen, *COSTS))] for row in table.rows]
    return Sheet(["entry", *(column.heading for column in (chosen, *COSTS))], rows, frozenset({"entry"}))


def _origin(table: Table) -> Sheet:
    headings = ["entry", "method", "plugin and version", "fidelity", "backbones"]
    rows = [[row.name, row.method, row.plugin, row.fidelity, row.backbones] for row in table.rows]
    return Sheet(headings, rows, frozenset(headings))


def across_sheet(across: Across) -> Sheet:
    """Mean ranks over datasets, the best first."""
    ranks = sorted(across.ranks.items(), key=lambda item: item[1])
    return Sheet(["entry", "mean rank"], [[name, f"{rank:.2f}"] for name, rank in ranks], frozenset({"entry"}))


def fitted(sheet: Sheet, room: int) -> list[Sheet]:
    """A sheet as several, side by side in `room` characters each, so that no number is broken; each names its rows.

    The columns up to the first one of words come first in each of them.
    """
    named = next(at for at, heading in enumerate(sheet.headings) if heading in sheet.left) + 1
    groups: list[list[int]] = [[]]
    for at in range(named, len(sheet.headings)):
        if groups[-1] and _width(sheet, [*range(named), *groups[-1], at]) > room:
            groups.append([])
        groups[-1].append(at)
    return [_only(sheet, [*range(named), *group]) for group in groups]


def _width(sheet: Sheet, columns: Sequence[int]) -> int:
    """How narrow a table of these columns can be: words may go on in the next line, numbers may not."""
    return sum(
        max(len(word) for row in (sheet.headings, *sheet.rows) for word in row[at].split()) + _GAP for at in columns
    )


def _only(sheet: Sheet, columns: Sequence[int]) -> Sheet:
    return Sheet(
        [sheet.headings[at] for at in columns], [[row[at] for at in columns] for row in sheet.rows], sheet.left
    )


def rank_text(rank: tuple[int, int]) -> str:
    """`2`, or `2–4` where the tests can't say."""
    low, high = rank
    return str(low) if low == high else f"{low}–{high}"


def interval_text(interval: Interval, column: Column) -> str:
    """`0.54±0.03`, or the mean alone where it has no interval."""
    half = (interval.high - interval.low) / 2
    most = MOST if column in COSTS else _SCORE
    return measured(_known(interval.mean), _known(half), most)


def _values(row: Row, columns: Sequence[Column]) -> list[str]:
    return [interval_text(row.values[column.name], column) for column in columns]


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
