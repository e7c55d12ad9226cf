"""A leaderboard as a Markdown page."""

import re
from collections.abc import Iterable, Sequence

from rich.cells import cell_len

from fedbench_core.leaderboard.digits import decimals
from fedbench_core.leaderboard.footnotes import across_notes, under_leaderboard, under_table
from fedbench_core.leaderboard.leaderboard import Leaderboard, short_names
from fedbench_core.leaderboard.sheets import Sheet, across_sheet, sheets
from fedbench_core.leaderboard.table import Table
from fedbench_core.statistics.datasets import Across
from fedbench_core.statistics.pairs import Pair

Pictures = Sequence[tuple[str, str]]
"""What each shows, and its path from the page."""


def page(leaderboard: Leaderboard, pictures: Sequence[Pictures] = (), across_pictures: Pictures = ()) -> str:
    """The page of a suite: a section for each table with its notes and pictures, then what holds for all of them."""
    suite = leaderboard.suite
    parts = [
        f"<!-- Rendered by `fedbench leaderboard {suite.name} --write`; change the records or the suite instead. -->",
        f"# {suite.name}",
        suite.question,
        f"Ranked by **{leaderboard.ranked_by.heading}**. {_outcome(leaderboard)}",
    ]
    for number, table in enumerate(leaderboard.tables):
        parts += _section(table, pictures[number] if pictures else ())
    if leaderboard.across is not None:
        parts += _over_datasets(leaderboard.across, across_pictures)
    parts += ["## How to read this", bullets(under_leaderboard(leaderboard))]
    return "\n\n".join(part for part in parts if part) + "\n"


def pipe_table(sheet: Sheet) -> str:
    """A table in Markdown, padded so that it also reads well as plain text."""
    rows = [[_escaped(grid_point) for grid_point in row] for row in (sheet.headings, *sheet.rows)]
    widths = [max(3, *(cell_len(row[at]) for row in rows)) for at in range(len(sheet.headings))]
    left = [heading in sheet.left for heading in sheet.headings]
    rules = ["-" * width if is_left else f"{'-' * (width - 1)}:" for width, is_left in zip(widths, left, strict=True)]
    lines = [
        " | ".join(
            _padded(grid_point, width, is_left) for grid_point, width, is_left in zip(row, widths, left, strict=True)
        )
        for row in (rows[0], rules, *rows[1:])
    ]
    return "\n".join(f"| {line} |" for line in lines)


def bullets(sentences: Iterable[str]) -> str:
    """A list."""
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _outcome(leaderboard: Leaderboard) -> str:
    """Who wins where, in a sentence or a list."""
    aside = f" ({leaderboard.suite.baselines.centralized} aside)"
    told = [
        f"**{winner}** is better than every other entry{aside}" if winner else "no claim of a best entry"
        for _, winner in leaderboard.winners
    ]
    if len(told) == 1:
        return f"{told[0][0].upper()}{told[0][1:]}."
    return "Best entries:\n\n" + bullets(
        f"{name}: {text}" for name, text in zip(short_names(leaderboard), told, strict=True)
    )


def _section(table: Table, pictures: Pictures) -> list[str]:
    if not table.rows:
        return [f"## {table.case}", "No entry is within the budget.", bullets(under_table(table))]
    return [
        f"## {table.case}",
        *map(pipe_table, sheets(table)),
        bullets(under_table(table)),
        _claimed(table),
        *(f"![{words}]({path})" for words, path in pictures),
    ]


def _claimed(table: Table) -> str:
    """The differences that are claimed, folded away: there may be many."""
    pairs = [pair for pair in table.pairs if pair.significant]
    if not pairs:
        return ""
    head = f"<details><summary>The {len(pairs)} differences that are claimed</summary>"
    place = {row.entry: number for number, row in enumerate(table.rows)}
    rows = [_pair_grid_points(pair, more_is_better=table.ranked_by.more_is_better) for pair in pairs]
    rows.sort(key=lambda row: (place[row[0]], place[row[1]]))
    words = frozenset(("better", "worse"))
    sheet = Sheet(["better", "worse", "difference", "95 % interval", "p (Holm)"], rows, words)
    return f"{head}\n\n{pipe_table(sheet)}\n\n</details>"


def _pair_grid_points(pair: Pair, *, more_is_better: bool) -> list[str]:
    better, worse = (pair.a, pair.b) if (pair.difference > 0) == more_is_better else (pair.b, pair.a)
    ends = sorted((abs(pair.low), abs(pair.high)))
    places = min(4, decimals((ends[1] - ends[0]) / 2))
    difference, low, high = (f"{value:.{max(0, places)}f}" for value in (abs(pair.difference), *ends))
    return [better, worse, difference, f"{low} to {high}", f"{pair.p_holm:.2g}"]


def _over_datasets(across: Across, pictures: Pictures) -> list[str]:
    return [
        "## Over datasets",
        pipe_table(across_sheet(across)),
        bullets(across_notes(across)),
        *(f"![{words}]({path})" for words, path in pictures),
    ]


def _padded(grid_point: str, width: int, is_left: bool) -> str:
    gap = " " * (width - cell_len(grid_point))
    return grid_point + gap if is_left else gap + grid_point


def _escaped(grid_point: str) -> str:
    """Bars would end the grid point; stars, and underscores that are not inside a word, would change its type."""
    return re.sub(r"([|*`<\\]|(?<!\w)_|_(?!\w))", r"\\\1", grid_point)
