"""`fedbench suite`: run a suite of experiments, and show its status."""

import os
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedbench_core.api.errors import RunError
from fedbench_core.cli.flags import data_flag, ray_flags
from fedbench_core.cli.output import echo, json_option, print_json, print_sentence, print_table
from fedbench_core.cli.progress import following
from fedbench_core.cli.serving import serving

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedbench_core.suites.running import SuitePlan
    from fedbench_core.suites.status import StatusRow, Unrecorded
    from fedbench_core.suites.suite import Suite

_MOST_NAMES = 12

file_argument = click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
out_option = click.option(
    "--out", type=click.Path(path_type=Path), default=Path("runs"), help="parent folder of run folders  [default: runs]"
)
records_option = click.option(
    "--records",
    type=click.Path(path_type=Path),
    help="folder of the records  [default: records/NAME beside the folder suites, or beside FILE elsewhere]",
)


@click.group("suite")
def command() -> None:
    """Run a suite of experiments, or show its status.

    A suite is a TOML file with entries (methods with options), datasets, partitions, backbones and seeds to compare.
    """


@command.command("run")
@file_argument
@click.option(
    "--workers", type=click.IntRange(min=1), metavar="N", help="number of parallel runs  [default: all cores]"
)
@click.option(
    "--checkpoint-every", type=click.IntRange(min=1), default=1, metavar="K", help="rounds between checkpoints"
)
@out_option
@records_option
@data_flag
@ray_flags
@click.option(
    "--executor",
    type=click.Choice(["processes", "ray"]),
    default="processes",
    help="where runs are computed, each in one process  [default: processes]",
)
@click.option("--fresh", is_flag=True, help="repeat runs that were recorded with other settings or versions")
@json_option
def run(
    file: Path, workers: int | None, records: Path | None, as_json: bool, out: Path, fresh: bool, **how: Any
) -> None:
    """Run the missing runs of the suite in FILE, several in parallel, and file their records.

    After an interruption, the same command continues. A run that fails or is invalid does not stop the others.
    """
    from fedbench_core.suites.filed_records import records_folder  # noqa: PLC0415  # not for --help
    from fedbench_core.suites.suite import read_suite  # noqa: PLC0415  # as above

    suite = read_suite(file)
    with serving("fedbench_core.suites.jobs", processes=how["executor"] == "processes"):
        from fedbench_core.runner import How  # noqa: PLC0415  # imports torch: slow, and --help does not need it
        from fedbench_core.suites.running import plan_runs, run_suite  # noqa: PLC0415  # as above

        computed = How(out=out, fresh=fresh, workers=workers, **how)
        made = plan_runs(suite, records or records_folder(file), computed, str(file))
        if not as_json:
            _warn_of_missing_baselines(suite)
        if made.runs and not as_json:
            echo(f"{suite.name}: {made.recorded} runs already recorded, {len(made.runs)} to run", err=True)
        try:
            with following(quiet=as_json) as follow:
                outcomes = run_suite(made, computed, workers or os.cpu_count() or 1, follow)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("The records of finished runs are kept. Continue with the same command.") from None
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
    from fedbench_core.suites.status import status as status_rows  # noqa: PLC0415  # not for --help
    from fedbench_core.suites.suite import read_suite  # noqa: PLC0415  # as above

    rows = status_rows(read_suite(file), records or records_folder(file), out)
    if as_json:
        names = ("entry", "dataset", "partition", "backbones")
        print_json([{**{name: getattr(row, name) for name in names}, **row.counts} for row in rows])
        return
    grid = list(dict.fromkeys(_where(row, rows) for row in rows))
    cells = {(row.entry, _where(row, rows)): _counts(row.counts) for row in rows}
    entries = list(dict.fromkeys(row.entry for row in rows))
    print_table(("entry", *grid), [(entry, *(cells[entry, where] for where in grid)) for entry in entries])


def _warn_of_missing_baselines(suite: "Suite") -> None:
    from fedbench_core.leaderboard.baselines import unnamed  # noqa: PLC0415  # as above

    if names := unnamed(suite):
        echo(
            f"The table of {suite.name} will not be ranked: [baselines] in {suite.file} does not name "
            f"{', '.join(names)}.",
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
        print_json({"suite": made.suite.name, "grid_points": made.grid_points, **counts})
        return
    _print_grouped("outdated", made.outdated)
    _print_grouped("skipped", outcomes.skipped)
    _print_grouped("failed", outcomes.failed)
    if made.outdated:
        print_sentence(
            f"Outdated records (other settings or versions): {len(made.outdated)}. Use --fresh to replace them."
        )
    print_sentence(f"{made.grid_points - missing} of {made.grid_points} runs are recorded in {made.records}.")


def _print_grouped(heading: str, reasons: "Mapping[str, str]") -> None:
    """Print a row for each reason, with the runs that share it."""
    if not reasons:
        return
    by_reason = sorted(reasons, key=lambda name: (reasons[name], name))
    rows = [(_listed(list(names)), reason) for reason, names in groupby(by_reason, key=reasons.__getitem__)]
    print_table((heading, "reason"), rows)
    echo()


def _listed(names: list[str]) -> str:
    """The first names, and the number of others; `--json` has all of them."""
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more
