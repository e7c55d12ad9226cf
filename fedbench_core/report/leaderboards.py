"""A leaderboard as what the template of the report shows: tables, notes, charts and pairs."""

import base64
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from markdown_it import MarkdownIt
from markupsafe import Markup

from fedbench_core.escapes import line
from fedbench_core.leaderboard.columns import COSTS, Column, selected
from fedbench_core.leaderboard.definitions import dataset_footnotes, leaderboard_footnotes
from fedbench_core.leaderboard.footnotes import table_footnotes
from fedbench_core.leaderboard.formats import latex_table, to_csv
from fedbench_core.leaderboard.leaderboard import Leaderboard
from fedbench_core.leaderboard.markdown import bullets, pipe_table
from fedbench_core.leaderboard.outcome import outcome
from fedbench_core.leaderboard.table import Table
from fedbench_core.leaderboard.text_tables import TextTable, mean_rank_table, model_table, pair_table, text_tables
from fedbench_core.records.scored import scored
from fedbench_core.report.heat import Heat, cross_evaluation, partition
from fedbench_core.report.table_charts import first_run, table_charts
from fedbench_core.report.vega import Chart
from fedbench_core.suites.filed_records import records_folder

_MARKDOWN = MarkdownIt("commonmark", {"html": False})
"""The text of the pages is Markdown in which names are escaped: rendering it keeps them harmless."""
_MOST_CLIENTS = 16
"""Matrices of more clients are shown on the page of a run only."""
_SHOWN = ("mb_up", "mb_down", "mb_peer")
"""Costs that are shown before the reader chooses columns."""


@dataclass(frozen=True)
class Cell:
    """The text of a cell, as in the Markdown page, and the value by which its column is sorted (None: by the text)."""

    text: str
    value: float | str | None


@dataclass(frozen=True)
class Heading:
    """The heading of a column: its meaning on hover; `first`: which end comes first when it is sorted."""

    name: str
    text: str
    meaning: str
    left: bool
    shown: bool
    first: str = "ascending"


@dataclass(frozen=True)
class Line:
    """A row of a table: its cells, and what the filters and the marks need. rank: None in a table without ranks."""

    entry: str
    method: str
    fidelity: str
    megabytes: float
    rank: tuple[int, int] | None
    cells: Sequence[Cell]
    better: Sequence[int]
    worse: Sequence[int]
    command: str


@dataclass(frozen=True)
class Copy:
    """A table as text in some format: a text for each line of the sheet, and what stands before and after them."""

    head: str
    rows: Sequence[str]
    tail: str


@dataclass(frozen=True)
class Sheet:
    """The table of a case with all that belongs to it. copies: the table in other formats, by their names."""

    title: str
    headings: Sequence[Heading]
    lines: Sequence[Line]
    notes: Markup
    models: TextTable
    pairs: TextTable
    charts: Sequence[Chart]
    copies: Mapping[str, Sequence[Copy]]
    partition: Heat
    matrices: Sequence[Heat]


@dataclass(frozen=True)
class SuiteSection:
    """A suite in the report: prose as HTML, its tables, the mean ranks over datasets, and their pictures.

    pictures: the critical-difference diagram, if any, as alternative text and data URI.
    """

    name: str
    question: str
    outcome: Markup
    sheets: Sequence[Sheet]
    ranks: TextTable | None
    rank_notes: Markup
    pictures: Sequence[tuple[str, str]]
    guide: Markup


def suite_section(leaderboard: Leaderboard, file: Path, number: int) -> SuiteSection:
    """What the report shows of a suite. number: its place in the report, for the names of charts."""
    over = leaderboard.over_datasets
    tables = [table for table in leaderboard.tables if table.rows]
    commands = _commands(leaderboard, file)
    return SuiteSection(
        leaderboard.suite.name,
        leaderboard.suite.question,
        prose("\n\n".join(outcome(leaderboard))),
        [_sheet(leaderboard, table, commands, f"c{number}-{at}") for at, table in enumerate(tables)],
        None if over is None else mean_rank_table(over),
        Markup() if over is None else prose(bullets(dataset_footnotes(over))),
        _pictures(leaderboard),
        prose(bullets(leaderboard_footnotes(leaderboard))),
    )


def _pictures(leaderboard: Leaderboard) -> list[tuple[str, str]]:
    if leaderboard.over_datasets is None or not leaderboard.over_datasets.significant:
        return []
    from fedbench_core.leaderboard.figures import dataset_figures  # noqa: PLC0415  # matplotlib, for this picture only
    from fedbench_core.plots.style import drawn  # noqa: PLC0415  # as above

    return [(figure.alt_text, _data_uri(drawn(figure.draw))) for figure in dataset_figures(leaderboard)]


def _data_uri(svg: bytes) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"


def prose(markdown: str) -> Markup:
    """Markdown of the pages as HTML."""
    return Markup(_MARKDOWN.render(markdown))  # noqa: S704  # names are escaped in the Markdown, and HTML is off


def _sheet(leaderboard: Leaderboard, table: Table, commands: Mapping[str, str], name: str) -> Sheet:
    alone = replace(leaderboard, tables=(table,))
    sheets = text_tables(table)
    return Sheet(
        title=str(table.case),
        headings=list(_headings(table, sheets)),
        lines=_lines(table, sheets, commands),
        notes=prose(bullets(table_footnotes(table))),
        models=model_table(table),
        pairs=pair_table(table, [pair for pair in table.pairs if pair.significant]),
        charts=list(table_charts(leaderboard, table, name)),
        copies=_copies(alone, sheets),
        partition=partition(first_run(table, table.rows[0])),
        matrices=_matrices(table),
    )


def _copies(alone: Leaderboard, sheets: Sequence[TextTable]) -> dict[str, list[Copy]]:
    """The tables in each format, with their rows apart, so that those that are shown can be copied."""
    [table] = alone.tables
    caption = f"{alone.suite.name}: {table.case}"
    return {
        "CSV": [_copy(to_csv(alone), table, 1)],
        "LaTeX": [_copy(text, table, text.splitlines().index(r"\midrule") + 1) for text in _latex(sheets, caption)],
        "Markdown": [_copy(f"{pipe_table(sheet)}\n\n", table, 2) for sheet in sheets],
    }


def _latex(sheets: Sequence[TextTable], caption: str) -> list[str]:
    return [f"{latex_table(sheet, caption)}\n\n" for sheet in sheets]


def _copy(text: str, table: Table, start: int) -> Copy:
    """A text that has a line for each row of the table from its line `start`."""
    lines = text.splitlines(keepends=True)
    end = start + len(table.rows)
    return Copy("".join(lines[:start]), lines[start:end], "".join(lines[end:]))


def _columns(table: Table) -> tuple[Column, ...]:
    """The columns of numbers in the order in which the pages have them."""
    return (*table.scored, selected(table.ranked_by), *COSTS)


def _headings(table: Table, sheets: Sequence[TextTable]) -> Iterator[Heading]:
    ranked, costs, origins = sheets
    texts = [*ranked.headings[2:], *costs.headings[1:]]
    yield Heading("rank", "rank", "the interval of ranks that the significant differences allow", left=True, shown=True)
    yield Heading("entry", "entry", "a method with its settings; † is a reconstruction", left=True, shown=True)
    hidden = {selected(table.ranked_by).name, *(cost.name for cost in COSTS)} - {*_SHOWN}
    for column, text in zip(_columns(table), texts, strict=True):
        first = "descending" if column.more_is_better else "ascending"
        meaning = column.meaning or _COST_MEANINGS.get(column.name, column.heading)
        yield Heading(
            column.name,
            text,
            meaning,
            left=False,
            shown=column.name not in hidden,
            first=first,
        )
    for text in origins.headings[1:]:
        yield Heading(text, text, text, left=True, shown=False)


_COST_MEANINGS = {
    "mb_up": "10⁶ bytes uploaded to the server, per client and round",
    "mb_down": "10⁶ bytes downloaded from the server, per client and round",
    "mb_peer": "10⁶ bytes between clients, per client and round",
    "gflops": "10⁹ floating-point operations of training in the whole federation",
    "seconds": "wall time of a run; machines may differ",
}


def _lines(table: Table, sheets: Sequence[TextTable], commands: Mapping[str, str]) -> list[Line]:
    ranked, costs, origins = sheets
    place = {row.entry: at for at, row in enumerate(table.rows)}
    better: dict[str, list[int]] = {row.entry: [] for row in table.rows}
    worse: dict[str, list[int]] = {row.entry: [] for row in table.rows}
    for winner, loser in table.claims:
        better[loser].append(place[winner])
        worse[winner].append(place[loser])
    lines = []
    for row, measured, cost, origin in zip(table.rows, ranked.rows, costs.rows, origins.rows, strict=True):
        means = [row.intervals[column.name].mean for column in _columns(table)]
        numbers = zip([*measured[2:], *cost[1:]], means, strict=True)
        cells = [
            Cell(measured[0], None if row.rank is None else sum(row.rank)),
            Cell(measured[1], row.entry),
            *(Cell(text, None if math.isnan(mean) else mean) for text, mean in numbers),
            *(Cell(text, text) for text in origin[1:]),
        ]
        lines.append(
            Line(
                *(row.entry, row.method, row.fidelity, row.megabytes, row.rank, cells),
                *(better[row.entry], worse[row.entry], commands[first_run(table, row)["grid_point"]["key"]]),
            )
        )
    return lines


def _commands(leaderboard: Leaderboard, file: Path) -> dict[str, str]:
    """The command that repeats the first run of an entry, by the key of its grid point."""
    parent = Path(leaderboard.suite.file).parent
    seeds = sorted({min(own) for table in leaderboard.tables for own in table.runs.values()})
    folder = (parent.parent if parent.name == "suites" else parent) / "records" / records_folder(file).name
    return {
        point.key: f"fedbench run --config {shlex.quote(line(str(folder / f'{point.name}.json')))} --fresh"
        for point in leaderboard.suite.grid_points(seeds)
    }


def _matrices(table: Table) -> list[Heat]:
    """The matrix of each entry's first seed, where each client has a model of its own and there are few clients."""
    found = []
    for row in table.rows:
        own = table.runs[row.entry]
        record = own[min(own)]
        if len(set(scored(record).predictors[1])) > 1 and record["population"]["clients"] <= _MOST_CLIENTS:
            found.append(cross_evaluation(record, f"{row.name}, seed {min(own)}"))
    return found
