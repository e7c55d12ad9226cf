"""Output on stdout: tables for a terminal, plain columns for a pipe, JSON for programs."""

import io
import json
import os
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TextIO

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fedbench_core.escapes import line, lines

# Wider than any line: output to a pipe is neither truncated nor wrapped.
_UNLIMITED = 100_000
_GAP = 2

Cells = list[list[str]]

json_option = click.option("--json", "as_json", is_flag=True, help="print JSON instead of a table")


def can_move(stream: TextIO) -> bool:
    """Whether a stream is a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")


def echo(text: str = "", *, err: bool = False, nl: bool = True) -> None:
    """Print text as it is, but for control characters: text of a record or a suite can't steer a terminal."""
    click.echo(lines(text), err=err, nl=nl)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], right: Collection[str] = ()) -> None:
    """Print rows under one line of headings; columns of numbers, and those named in `right`, are aligned right.

    On a terminal, cells wrap between words; if even that is too wide, the columns continue in a second table, which
    repeats the columns that name a row. In a pipe, every row is one line.
    """
    body = [list(row) for row in rows]
    numeric = [bool(body) and all(_is_number(row[at]) for row in body) for at in range(len(columns))]
    aligned = [number or name in right for number, name in zip(numeric, columns, strict=True)]
    cells = [[line(words(cell)) for cell in row] for row in (columns, *body)]
    if not sys.stdout.isatty():
        echo(_plain(_table(cells, aligned)))
        return
    console = Console()
    for position, group in enumerate(_groups(cells, aligned, console.width)):
        console.print("\n" * (position > 0), end="")
        part = [[row[at] for at in group] for row in cells]
        console.print(_table(part, [aligned[at] for at in group], _widths(part, console.width)))


def print_sentence(sentence: str) -> None:
    """Print a sentence, wrapped between words on a terminal and on one line elsewhere."""
    if sys.stdout.isatty():
        Console().print(Text(lines(sentence)))
    else:
        echo(sentence)


def print_json(value: object) -> None:
    """Print `value` as indented JSON; values that JSON does not have (paths, enums) become text."""
    echo(json.dumps(value, indent=2, default=str))


def words(value: object) -> str:
    """A value as text: None as "-", truth values as yes and no, lists and mappings without brackets."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={item}" for key, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _table(cells: Cells, right: Sequence[bool], widths: Sequence[int] | None = None) -> Table:
    box, padding = (SIMPLE_HEAD, (0, _GAP - 1, 0, 0)) if widths else (None, (0, _GAP, 0, 0))  # a box has a separator
    table = Table(box=box, padding=padding, pad_edge=False, show_edge=False)
    for at, (name, number) in enumerate(zip(cells[0], right, strict=True)):
        width = widths[at] if widths else None
        table.add_column(Text(name), overflow="fold", justify="right" if number else "left", width=width)
    for row in cells[1:]:
        table.add_row(*map(Text, row))  # Text: a cell like [1, 2] is not markup
    return table


def _groups(cells: Cells, right: Sequence[bool], room: int) -> list[list[int]]:
    """The columns of each table that fits into `room`; the columns up to the first one of text name the rows."""
    naming = list(range(right.index(False) + 1 if False in right else 1))
    least = _longest(cells, str.split)
    groups = [list(naming)]
    for at in range(len(naming), len(right)):
        if len(groups[-1]) > len(naming) and _total([least[other] for other in (*groups[-1], at)]) > room:
            groups.append(list(naming))
        groups[-1].append(at)
    return groups


def _widths(cells: Cells, room: int) -> list[int]:
    """Column widths whose total is at most `room`: the widest column shrinks, first those that can wrap at a space."""
    widths, least = _longest(cells, str.splitlines), _longest(cells, str.split)
    while _total(widths) > room:
        can_wrap = [at for at, width in enumerate(widths) if width > least[at]]
        widths[max(can_wrap or range(len(widths)), key=widths.__getitem__)] -= 1
    return [max(1, width) for width in widths]


def _longest(cells: Cells, pieces: Callable[[str], list[str]]) -> list[int]:
    """The length of the longest piece of text in each column, at least 1."""
    return [
        max((len(piece) for cell in column for piece in pieces(cell)), default=1) for column in zip(*cells, strict=True)
    ]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _plain(table: Table) -> str:
    sheet = io.StringIO()
    Console(file=sheet, width=_UNLIMITED, color_system=None).print(table)
    return "\n".join(line.rstrip() for line in sheet.getvalue().splitlines())
