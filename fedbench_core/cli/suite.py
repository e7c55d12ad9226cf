"""`fedbench suite`: run or tune a suite of experiments, and show its status."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedbench_core.api.errors import RunError
from fedbench_core.cli.computing import (
    compute,
    file_argument,
    listed,
    out_option,
    print_grouped,
    records_option,
    running,
)
from fedbench_core.cli.output import echo, json_option, print_json, print_sentence, print_table
from fedbench_core.cli.track import track_flag
from fedbench_core.cli.tune import command as tune

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedbench_core.suites.grid import GridPoint
    from fedbench_core.suites.running import SuitePlan
    from fedbench_core.suites.status import StatusRow, Unrecorded
    from fedbench_core.suites.suite import Suite


@click.group("suite")
def command() -> None:
    """Run or tune a suite of experiments, or show its status.

    A suite is a TOML file with entries (methods with options), datasets, partitions, backbones and seeds to compare.
    """


command.add_command(tune)


@command.command("run")
@file_argument
@track_flag
@running
def run(file: Path, records: Path | None, track: tuple[str, ...], as_json: bool, **how: Any) -> None:
    """Run the missing runs of the suite in FILE, several in parallel, and file their records.

    After an interruption, the same command continues. A run that fails or is invalid does not stop the others. Entries
    that were tuned are run with their default and with their tuned settings.
    """
    from fedbench_core.suites.filed_records import records_folder  # noqa: PLC0415  # not for --help
    from fedbench_core.suites.files import read_suite  # noqa: PLC0415  # as above

    suite = read_suite(file)

    def warn() -> None:
        _warn_of_missing_baselines(suite)
        _warn_of_missing_choices(suite)

    plan = partial(_plan, suite)
    made, outcomes = compute(file, plan, records or records_folder(file), warn, track, as_json=as_json, **how)
    _report(made, outcomes, as_json=as_json)
    if outcomes.failed:
        runs = f"{len(outcomes.failed)} run{'s' * (len(outcomes.failed) > 1)}"
        raise RunError(f"{runs} failed. The same command repeats them.")


@command.command("status")
@file_argument
@out_option
@records_option
@json_option
def status(file: Path, out: Path, records: Path | None, as_json: bool) -> None:
    """Show how many runs of the suite in FILE are done, missing, failed or skipped.

    One row per entry, one column per dataset and partition. Failed and skipped runs are those of the last
    `fedbench suite run` with the same --out.
    """
    from fedbench_core.suites.filed_records import records_folder  # noqa: PLC0415  # as above
    from fedbench_core.suites.files import read_suite  # noqa: PLC0415  # as above
    from fedbench_core.suites.status import status as status_rows  # noqa: PLC0415  # not for --help

    rows = status_rows(read_suite(file), records or records_folder(file), out)
    if as_json:
        names = ("entry", "dataset", "partition", "backbones")
        print_json([{**{name: getattr(row, name) for name in names}, **row.counts} for row in rows])
        return
    grid = list(dict.fromkeys(_where(row, rows) for row in rows))
    cells = {(row.entry, _where(row, rows)): _counts(row.counts) for row in rows}
    entries = list(dict.fromkeys(row.entry for row in rows))
    table = [(entry, *(cells.get((entry, where)) for where in grid)) for entry in entries]  # not all are tuned
    print_table(("entry", *grid), table)


def _plan(suite: "Suite") -> "tuple[str, list[GridPoint]]":
    from fedbench_core.suites.tuning import ranges_of  # noqa: PLC0415  # imports torch

    if suite.tuning is not None:
        ranges_of(suite, suite.tuning)  # refuses what `suite tune` refuses
    return suite.name, suite.grid_points()


def _warn_of_missing_baselines(suite: "Suite") -> None:
    from fedbench_core.leaderboard.baselines import unnamed  # noqa: PLC0415  # as above

    if names := unnamed(suite):
        echo(
            f"The table of {suite.name} will not be ranked: [baselines] in {suite.file} does not name "
            f"{', '.join(names)}.",
            err=True,
        )


def _warn_of_missing_choices(suite: "Suite") -> None:
    points = list(suite.default_points(suite.seeds[:1]))
    missing = dict.fromkeys(point.entry for point in points if suite.choice(point) is None)
    if suite.tuning is not None and missing:
        echo(
            f"Not tuned, and run with default settings only: {listed(list(missing))}. Tune all entries first: "
            f"fedbench suite tune {suite.file}",
            err=True,
        )


def _where(row: "StatusRow", rows: "list[StatusRow]") -> str:
    """The heading of a column; with the backbones if the suite has several lists of them."""
    several = len({other.backbones for other in rows}) > 1
    return ", ".join([row.dataset, row.partition, *([row.backbones] if several else [])])


def _counts(grid_points: "Mapping[str, int]") -> str:
    return ", ".join(f"{count} {state}" for state, count in grid_points.items() if count)


def _report(made: "SuitePlan", outcomes: "Unrecorded", *, as_json: bool) -> None:
    missing = len(outcomes.failed) + len(outcomes.skipped)
    if as_json:
        done = made.grid_points - missing
        counts = {"recorded": done, "skipped": outcomes.skipped, "failed": outcomes.failed, "outdated": made.outdated}
        print_json({"suite": made.name, "grid_points": made.grid_points, "records": made.records, **counts})
        return
    print_grouped("outdated", made.outdated)
    print_grouped("skipped", outcomes.skipped)
    print_grouped("failed", outcomes.failed)
    if made.outdated:
        print_sentence(
            f"Outdated records (other settings or versions): {len(made.outdated)}. Use --fresh to replace them."
        )
    print_sentence(f"{made.grid_points - missing} of {made.grid_points} runs are recorded in {made.records}.")
