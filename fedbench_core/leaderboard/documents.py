"""Tables in other documents than the pages, such as the READMEs of plugins, rendered from the records of a suite.

A document holds lines `<!-- fedbench {"suite": "fifteen", "entries": ["local"], "columns": ["auc"]} -->`, the
table, and `<!-- /fedbench -->`. What is between the two comments is replaced.
"""

import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedbench_core.api.errors import RequestError, unknown
from fedbench_core.leaderboard.columns import Column, column
from fedbench_core.leaderboard.leaderboard import Leaderboard, case_labels
from fedbench_core.leaderboard.markdown import pipe_table
from fedbench_core.leaderboard.phrases import either
from fedbench_core.leaderboard.table import Table
from fedbench_core.leaderboard.text_tables import TextTable, interval_text
from fedbench_core.suites.files import problems_text

_BLOCK = re.compile(
    r"(?P<head>^<!-- fedbench (?P<asked>\{.*?\}) -->\n).*?(?P<end>^<!-- /fedbench -->)", re.DOTALL | re.MULTILINE
)
_OPEN = re.compile(r"^<!-- fedbench \{", re.MULTILINE)


class _Asked(BaseModel):
    """A table that a document asks for: entries in their order, and columns as for `--sort`."""

    model_config = ConfigDict(extra="forbid")

    suite: str
    entries: list[str] = Field(min_length=1)
    columns: list[str] = Field(min_length=1)


def documents(folder: Path) -> Iterator[Path]:
    """The documents beside a folder of leaderboards that hold tables: at the top, and in `plugins`."""
    found = [path for pattern in ("*.md", "plugins/*.md", "plugins/*/*.md") for path in folder.parent.glob(pattern)]
    for path in sorted(found):
        if path.is_file() and _OPEN.search(path.read_text(encoding="utf-8", errors="replace")):
            yield path


def document(
    path: Path, folder: Path, leaderboards: Mapping[str, Leaderboard | None], others: Collection[str] = ()
) -> str:
    """The text of a document with its tables; those of `others`, suites that are not asked for, stay.

    leaderboards: by name of the suite, None without records. RequestError for a file that is not UTF-8, and for a table
    that is not closed, or that asks for what does not exist.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RequestError(f"{path} holds a table of fedbench and is not UTF-8: {error}. Save it as UTF-8.") from None
    if len(_OPEN.findall(text)) != len(_BLOCK.findall(text)):
        raise RequestError(f"{path}: a line <!-- fedbench {{...}} --> is not followed by <!-- /fedbench -->.")
    try:
        return _BLOCK.sub(lambda block: _filled(block, path, folder, leaderboards, others), text)
    except ValidationError as error:
        raise RequestError(f"{path}: {problems_text(error)}.") from None
    except RequestError as error:
        raise RequestError(f"{path}: {error}") from None


def _filled(
    block: re.Match[str],
    path: Path,
    folder: Path,
    leaderboards: Mapping[str, Leaderboard | None],
    others: Collection[str],
) -> str:
    asked = _Asked.model_validate_json(block["asked"])
    if asked.suite in others:
        return block[0]
    if asked.suite not in leaderboards:
        raise unknown("suite", asked.suite, [*leaderboards, *others])
    leaderboard = leaderboards[asked.suite]
    parts = (
        _parts(leaderboard, asked, os.path.relpath(folder, path.parent)) if leaderboard else [_not_run(asked, folder)]
    )
    return "\n\n".join([block["head"].rstrip("\n"), *parts, block["end"]])


def _parts(leaderboard: Leaderboard, asked: _Asked, folder: str) -> list[str]:
    columns = [column(name) for name in asked.columns]
    cases = zip(case_labels(leaderboard), leaderboard.tables, strict=True)
    parts = [part for label, table in cases for part in _case(label, table, asked, columns)]
    counts = sorted({len(table.runs[name]) for table in leaderboard.tables for name in asked.entries})
    return [*parts, _origin(leaderboard, folder, counts)]


def _not_run(asked: _Asked, folder: Path) -> str:
    command = f"fedbench suite run {folder.resolve().name}/suites/{asked.suite}.toml"
    return f"Not run yet: `{command}`, and `fedbench leaderboard --write`."


def _case(label: str, table: Table, asked: _Asked, columns: list[Column]) -> list[str]:
    rows = {row.entry: row for row in table.rows}
    if misses := [name for name in asked.entries if name not in rows]:
        raise unknown(f"entry (of suite {asked.suite})", misses[0], rows)
    known = table.rows[0].intervals
    if others := [one.name for one in columns if one.name not in known]:
        raise unknown(f"column (of suite {asked.suite})", others[0], known)
    cells = [
        [rows[name].name, *(interval_text(rows[name].intervals[one.name], one) for one in columns)]
        for name in asked.entries
    ]
    sheet = TextTable(["entry", *(one.heading for one in columns)], cells, frozenset({"entry"}))
    return [*([f"{label}:"] if label else []), pipe_table(sheet)]


def _origin(leaderboard: Leaderboard, folder: str, seeds: list[int]) -> str:
    """Where the numbers come from, and how to compute them again. seeds: the numbers of them that entries have."""
    suite = leaderboard.suite
    means = "One seed." if seeds == [1] else f"Means over {either(seeds)} seeds ± half of the 95 % interval."
    smoke = " It is a smoke test: differences between methods mean nothing." if suite.smoke_test else ""
    return f"{means} From the suite [{suite.name}]({folder}/{suite.name}.md), `fedbench suite run {suite.file}`.{smoke}"
