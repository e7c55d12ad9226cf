"""`fedbench leaderboard SUITE --watch`: the tables of a suite fill in while it runs."""

import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fedbench_core.cli.output import can_move, echo, print_sentence, print_table
from fedbench_core.escapes import line

if TYPE_CHECKING:
    from fedbench_core.leaderboard.leaderboard import Leaderboard
    from fedbench_core.suites.suite import Suite

_PAUSE_SECONDS = 2.0


def watch(file: Path, read: "Callable[[], Leaderboard]") -> None:
    """Show the leaderboard of the suite in `file` whenever a record is added, until all runs are recorded.

    On a terminal the tables are replaced; elsewhere there is a line for each change. read: reads the leaderboard.
    """
    from fedbench_core.suites.filed_records import records_folder  # noqa: PLC0415  # not for --help
    from fedbench_core.suites.files import read_suite  # noqa: PLC0415  # as above

    suite, folder, seen = read_suite(file), records_folder(file), None
    show = _show if can_move(sys.stdout) else _print_line
    while True:
        files = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.json")}
        if files != seen:
            seen, found = files, _read(read)
            show(suite, found)
            if found is not None and found.records == found.grid_points:
                return
        time.sleep(_PAUSE_SECONDS)


def _read(read: "Callable[[], Leaderboard]") -> "Leaderboard | None":
    """The leaderboard; None as long as there is no record that can be ranked."""
    from fedbench_core.leaderboard.leaderboard import UnusableError  # noqa: PLC0415  # as above

    try:
        return read()
    except UnusableError:
        return None


def _show(suite: "Suite", found: "Leaderboard | None") -> None:
    """Replace what the terminal shows by the tables of scores."""
    from fedbench_core.leaderboard.text_tables import text_tables  # noqa: PLC0415  # as above

    click.clear()
    print_sentence(line(f"{suite.name}: {suite.question}"))
    echo()
    for table in found.tables if found else ():
        print_sentence(line(str(table.case)))
        echo()
        scores = text_tables(table)[0]
        print_table(scores.headings, scores.rows, right=frozenset(scores.headings) - scores.left)
        echo()
    missing = _missing(suite, found)
    print_sentence(f"{_count(suite, found)}{' Ctrl-C ends watching.' if missing else ''}")
    if missing:
        print_sentence(f"Still to run: {', '.join(f'{line(name)} ({count})' for name, count in missing.items())}.")


def _print_line(suite: "Suite", found: "Leaderboard | None") -> None:
    """Print what has changed as one line."""
    leaders = [
        f"{line(str(table.case))}: {line(row.entry)} {row.intervals[table.ranked_by.name].mean:.3f}"
        for table in (found.tables if found else ())
        for row in table.rows[:1]
    ]
    echo("  ".join([_count(suite, found), *leaders]))


def _count(suite: "Suite", found: "Leaderboard | None") -> str:
    total = len({point.key for point in suite.grid_points()})
    return f"{found.records if found else 0} of {total} runs are recorded."


def _missing(suite: "Suite", found: "Leaderboard | None") -> Counter[str]:
    """The number of runs that have no record, by entry."""
    there = Counter(name for table in (found.tables if found else ()) for name, own in table.runs.items() for _ in own)
    return Counter(point.entry for point in suite.grid_points()) - there
