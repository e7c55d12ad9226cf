"""Tables of text, for terminals, Markdown and LaTeX."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fedbench_core.leaderboard.columns import COSTS, Column, selected
from fedbench_core.leaderboard.rounding import MAX_DECIMALS, mean_text, supported_decimals
from fedbench_core.leaderboard.table import Row, Table
from fedbench_core.statistics.friedman import DatasetRanks
from fedbench_core.statistics.intervals import Interval
from fedbench_core.statistics.pairs import Pair
from fedbench_core.suites.choices import Choice

_GAP = 3
"""Characters between the columns of a terminal's table."""
_SCORE_DECIMALS = 3
"""With ten thousand test images the fourth decimal is noise."""


@dataclass(frozen=True)
class TextTable:
    """Headings and rows of text; `left` holds the headings of left-aligned columns."""

    headings: list[str]
    rows: list[list[str]]
    left: frozenset[str]


def text_tables(table: Table) -> list[TextTable]:
    """Scores, costs and origins of the entries, as three tables: sixteen columns don't fit on a page."""
    return [_scores(table), _costs(table), _origins(table)]


def _scores(table: Table) -> TextTable:
    rows = [[rank_text(row.rank), row.name, *_values(row, table.scored)] for row in table.rows]
    return TextTable(["rank", "entry", *(column.arrowed for column in table.scored)], rows, frozenset({"entry"}))


def _costs(table: Table) -> TextTable:
    """The costs, and the score with early stopping at the best validation round."""
    chosen = selected(table.ranked_by)
    rows = [[row.name, *_values(row, (chosen, *COSTS))] for row in table.rows]
    return TextTable(["entry", *(column.heading for column in (chosen, *COSTS))], rows, frozenset({"entry"}))


def _origins(table: Table) -> TextTable:
    headings = ["entry", "method", "plugin and version", "fidelity", "backbones"]
    rows = [[row.name, row.method, row.plugin, row.fidelity, row.backbones] for row in table.rows]
    if table.tuned:
        headings += ["chosen settings", "validation score", "with default settings"]
        rows = [[*cells, *_chosen(table.tuned[row.entry])] for cells, row in zip(rows, table.rows, strict=True)]
    return TextTable(headings, rows, frozenset(headings))


def _chosen(choice: Choice) -> list[str]:
    """What tuning chose, its score, and that of the default."""
    settings = ", ".join(f"{name.rpartition('.')[2]} {value}" for name, value in choice.best.settings.items())
    scores = [choice.best.score, choice.trials[0].score]
    return [settings or "default", *("failed" if score is None else f"{score:.{_SCORE_DECIMALS}f}" for score in scores)]


def model_table(table: Table) -> TextTable:
    """The ranked score of each model of the entries whose clients have several, such as a personal and a shared one."""
    ranked = table.ranked_by
    rows = []
    for row in table.rows:
        if row.other_models:
            models = {f"{row.model} (ranked)": row.intervals[ranked.name], **row.other_models}
            rows += [[row.name, model, interval_text(interval, ranked)] for model, interval in models.items()]
    return TextTable(["entry", "model", ranked.arrowed], rows, frozenset({"entry", "model"}))


def pair_table(table: Table, pairs: Iterable[Pair]) -> TextTable:
    """The differences of pairs of entries, in the order of the table's rows; the entry with the better mean first.

    If all are significant, the columns are called better and worse.
    """
    pairs = list(pairs)
    place = {row.entry: number for number, row in enumerate(table.rows)}
    rows = [_pair_row(pair, more_is_better=table.ranked_by.more_is_better) for pair in pairs]
    rows.sort(key=lambda row: (place[row[0]], place[row[1]]))
    names = ["better", "worse"] if all(pair.significant for pair in pairs) else ["entry", "compared with"]
    return TextTable([*names, "difference", "95 % interval", "p (Holm)"], rows, frozenset(names))


def _pair_row(pair: Pair, *, more_is_better: bool) -> list[str]:
    better, worse = pair.ordered(more_is_better=more_is_better)
    if math.isnan(pair.p):
        return [better, worse, "-", "-", "-"]
    low, high = (pair.low, pair.high) if pair.difference > 0 else (-pair.high, -pair.low)
    decimals = max(0, supported_decimals((high - low) / 2))
    texts = [f"{value:.{decimals}f}" for value in (abs(pair.difference), low, high)]
    return [better, worse, texts[0], f"{texts[1]} to {texts[2]}", f"{pair.p_holm:.2g}"]


def mean_rank_table(over_datasets: DatasetRanks) -> TextTable:
    """Mean ranks over datasets, the best first."""
    ranks = sorted(over_datasets.ranks.items(), key=lambda item: item[1])
    return TextTable(["entry", "mean rank"], [[name, f"{rank:.2f}"] for name, rank in ranks], frozenset({"entry"}))


def split_to_width(table: TextTable, width: int) -> list[TextTable]:
    """The table as several tables of at most `width` characters, so that no number is wrapped.

    Each repeats the columns up to the first left-aligned one, which names the rows.
    """
    named = next(at for at, heading in enumerate(table.headings) if heading in table.left) + 1
    groups: list[list[int]] = [[]]
    for at in range(named, len(table.headings)):
        if groups[-1] and _width(table, [*range(named), *groups[-1], at]) > width:
            groups.append([])
        groups[-1].append(at)
    return [_only(table, [*range(named), *group]) for group in groups]


def _width(table: TextTable, columns: Sequence[int]) -> int:
    """The minimum width of a table of these columns: text may be wrapped between words."""
    return sum(
        max(len(word) for row in (table.headings, *table.rows) for word in row[at].split()) + _GAP for at in columns
    )


def _only(table: TextTable, columns: Sequence[int]) -> TextTable:
    return TextTable(
        [table.headings[at] for at in columns], [[row[at] for at in columns] for row in table.rows], table.left
    )


def rank_text(rank: tuple[int, int] | None) -> str:
    """`2`, or `2–4` for an interval of ranks; a dash without a rank."""
    if rank is None:
        return "–"
    low, high = rank
    return str(low) if low == high else f"{low}–{high}"


def interval_text(interval: Interval, column: Column) -> str:
    """`0.54±0.03`, or the mean alone without an interval."""
    half = (interval.high - interval.low) / 2
    most = MAX_DECIMALS if column in COSTS else _SCORE_DECIMALS
    return mean_text(_known(interval.mean), _known(half), most)


def _values(row: Row, columns: Sequence[Column]) -> list[str]:
    return [interval_text(row.intervals[column.name], column) for column in columns]


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
