"""How results reach stdout: tables for people, plain columns for pipes, JSON for programs."""

import io
import json
import sys
from collections.abc import Collection, Iterable, Sequence

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

# Wider than any line: a pipe has no width, and nothing is cut or folded for it.
_UNCUT = 100_000

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "", right: Collection[str] = ()
) -> None:
    """A table with one line of headings; folded to the terminal, plain and uncut where stdout is none.

    Columns of numbers are aligned right, and those named in `right`; grid points are written as `words` writes them.
    """
    terminal = sys.stdout.isatty()
    table = Table(box=SIMPLE_HEAD if terminal else None, pad_edge=False, title=title or None, title_justify="left")
    body = [list(row) for row in rows]
    for position, name in enumerate(columns):
        number = name in right or (bool(body) and all(_is_number(row[position]) for row in body))
        table.add_column(Text(name), overflow="fold", justify="right" if number else "left")
    for row in body:
        table.add_row(*(Text(words(grid_point)) for grid_point in row))  # Text: a grid point like [1, 2] is no markup
    if terminal:
        Console().print(table)
    else:
        click.echo(_plain(table))


def print_sentence(sentence: str) -> None:
    """A sentence, broken between words on a terminal and not at all elsewhere."""
    if sys.stdout.isatty():
        Console().print(Text(sentence))
    else:
        click.echo(sentence)


def print_json(value: object) -> None:
    """`value` as indented JSON; what JSON does not know (paths, enums) as text."""
    click.echo(json.dumps(value, indent=2, default=str))


def words(value: object) -> str:
    """A value as a person writes it: none as "-", truth as yes or no, lists without brackets."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _plain(table: Table) -> str:
    sheet = io.StringIO()
    Console(file=sheet, width=_UNCUT, color_system=None).print(table)
    return "\n".join(line.rstrip() for line in sheet.getvalue().splitlines())
