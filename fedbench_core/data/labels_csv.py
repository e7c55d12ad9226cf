"""The CSV file of a folder of images: a row per image with its label, and optionally its split and its site."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from fedbench_core.api.datasets import SPLITS
from fedbench_core.api.errors import DataError
from fedbench_core.api.limits import read_text

NEEDED: Final = ("file", "label")
OPTIONAL: Final = ("split", "site")
SHOWN_PROBLEMS: Final = 10


@dataclass(frozen=True)
class Row:
    """One image: `number` is its line in the CSV file, the heading being line 1; `file` is relative to the folder."""

    number: int
    file: str
    label: str
    split: str = ""
    site: str = ""


@dataclass(frozen=True)
class Table:
    """The rows of a CSV file; `has` says which optional columns it has."""

    path: Path
    rows: tuple[Row, ...]
    has: frozenset[str]


def refuse(where: Path, problems: Sequence[str]) -> None:
    """DataError with the first problems, if there are any."""
    if len(problems) == 1:
        raise DataError(f"{where}: {problems[0]}")
    if problems:
        more = [f"and {len(problems) - SHOWN_PROBLEMS} more"] if len(problems) > SHOWN_PROBLEMS else []
        lines = "\n".join(f"  {line}" for line in [*problems[:SHOWN_PROBLEMS], *more])
        raise DataError(f"{where}: {len(problems)} problems:\n{lines}")


def find(folder: Path) -> Path:
    """The only CSV file in the folder; DataError if there are none or several."""
    try:
        found = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".csv")
    except OSError as error:
        raise DataError(f"{folder} can't be read ({error}).") from error
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "no CSV file"
        raise DataError(
            f"{folder} has {names}; expected one CSV file with the columns {', '.join(NEEDED)} and, if known, "
            f"{', '.join(OPTIONAL)}, and a row per image."
        )
    return found[0]


def read(path: Path) -> Table:
    """The rows of the file; DataError says what is wrong in which row."""
    heading, *lines = _lines(path)
    columns = [name.strip().lower() for name in heading]
    _check_columns(path, heading, columns)
    numbered = [(number, cells) for number, cells in enumerate(lines, start=2) if any(map(str.strip, cells))]
    refuse(
        path,
        [
            f"row {number} has {len(cells)} cells; expected {len(columns)}: {', '.join(columns)}"
            for number, cells in numbered
            if len(cells) != len(columns)
        ],
    )
    rows = tuple(Row(number, **dict(zip(columns, map(str.strip, cells), strict=True))) for number, cells in numbered)
    table = Table(path, rows, frozenset(columns) & set(OPTIONAL))
    refuse(path, list(_problems(table)))
    return table


def _lines(path: Path) -> list[list[str]]:
    try:
        text = read_text(path).removeprefix("\ufeff")  # which some spreadsheets write
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: {error}. Expected a CSV file in UTF-8, with commas between the cells.") from error
    if len(lines) < 2:  # noqa: PLR2004  # the heading and an image
        raise DataError(f"{path} has no rows; expected the heading {','.join(NEEDED)} and a row per image.")
    return lines


def _check_columns(path: Path, heading: Sequence[str], columns: Sequence[str]) -> None:
    known = (*NEEDED, *OPTIONAL)
    expected = f"expected {', '.join(NEEDED)} and optionally {', '.join(OPTIONAL)}, with commas between them"
    unknown = [name for name, column in zip(heading, columns, strict=True) if column not in known]
    if unknown:
        raise DataError(f"{path}: unknown column {unknown[0]!r}; {expected}.")
    missing = [name for name in NEEDED if name not in columns]
    if missing:
        raise DataError(f"{path}: no column {missing[0]!r}; {expected}.")
    if len(set(columns)) < len(columns):
        raise DataError(f"{path}: the columns {', '.join(columns)} repeat a name; {expected}.")


def _problems(table: Table) -> Iterator[str]:
    for row in table.rows:
        yield from _row_problems(row, table.has)
    yield from _repeated(table.rows)
    labels = sorted({row.label for row in table.rows})
    if len(labels) == 1:
        yield f"all images have the label {labels[0]!r}; expected at least two labels"
    if "split" in table.has:
        yield from split_problems(table.rows)


def _row_problems(row: Row, has: Iterable[str]) -> Iterator[str]:
    for column in (*NEEDED, *sorted(has)):
        if not getattr(row, column):
            yield f"row {row.number} has no {column}"
    if row.split and row.split not in SPLITS:
        yield f"row {row.number}: split {row.split!r}; expected {', '.join(SPLITS)}"
    file = PurePosixPath(row.file)
    if file.is_absolute() or ".." in file.parts:
        yield f"row {row.number}: {row.file}; expected a file in the folder of the CSV file, such as images/1.png"


def _repeated(rows: Iterable[Row]) -> Iterator[str]:
    first: dict[PurePosixPath, Row] = {}
    for row in rows:
        before = first.setdefault(PurePosixPath(row.file), row)
        if before is not row and row.file:
            splits = f" ({before.split} and {row.split})" if row.split != before.split else ""
            yield f"rows {before.number} and {row.number} are both {row.file}{splits}; expected one row per file"


def split_problems(rows: Sequence[Row]) -> Iterator[str]:
    """What is wrong with the splits: one without images, or a label without training images."""
    missing = [split for split in SPLITS if split not in {row.split for row in rows}]
    if missing:
        yield f"no row has the split {missing[0]}; expected {', '.join(SPLITS)}, or no such column: they are drawn then"
    trained = {row.label for row in rows if row.split == "train"}
    first = {row.label: row for row in reversed(rows)}
    for label in sorted(first.keys() - trained):
        yield f"label {label!r} (row {first[label].number}) has no training images"
