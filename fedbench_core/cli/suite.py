"""`fedbench suite`: run what a suite asks for, and see how far it is."""

import os
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedbench_core.api.errors import RunError
from fedbench_core.cli.flags import data_flag, ray_flags
from fedbench_core.cli.output import json_option, print_json, print_sentence, print_table
from fedbench_core.cli.progress import following
from fedbench_core.cli.serving import serving

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fedbench_core.suites.conduct import Plan
    from fedbench_core.suites.outcomes import Outcomes, Row

_NAMED = 12

file_argument = click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
out_option = click.option(
    "--out", type=click.Path(path_type=Path), default=Path("runs"), help="where run folders are  [default: runs]"
)
records_option = click.option(
    "--records",
    type=click.Path(path_type=Path),
    help="where records are filed  [default: records/NAME beside the folder suites, or beside FILE elsewhere]",
)


@click.group("suite")
def command() -> None:
    """Run a suite of comparisons, or see how far it is.

    A suite is a TOML file: entries (methods with options), datasets, partitions, backbones and seeds to compare.
    """


@command.command("run")
@file_argument
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="runs at once  [default: all cores]")
@click.option("--checkpoint-every", type=click.IntRange(min=1), default=1, metavar="K", help="rounds between commits")
@out_option
@records_option
@data_flag
@ray_flags
@click.option(
    "--executor",
    type=click.Choice(["processes", "ray"]),
    default="processes",
    help="where runs are computed, each serially  [default: processes]",
)
@click.option("--fresh", is_flag=True, help="run again what is recorded with another spec or other versions")
@json_option
def run(
    file: Path, workers: int | None, records: Path | None, as_json: bool, out: Path, fresh: bool, **how: Any
) -> None:
    """Run what is missing of the suite in FILE, several runs at once, and file their records.

    Interrupted at any time, the same command goes on. A run that fails or can't be does not stop the others.
    """
    from fedbench_core.suites.filing import records_of  # noqa: PLC0415  # not for --help
    from fedbench_core.suites.suite import read_suite  # noqa: PLC0415  # as above

    suite = read_suite(file)
    with serving("fedbench_core.suites.jobs", processes=how["executor"] == "processes"):
        from fedbench_core.runner import How  # noqa: PLC0415  # torch: seconds that --help does not need
        from fedbench_core.suites.conduct import conduct, plan  # noqa: PLC0415  # as above

        computed = How(out=out, fresh=fresh, workers=workers, **how)
        made = plan(suite, records or records_of(file), computed, str(file))
        if made.tasks and not as_json:
            click.echo(f"{suite.name}: {made.recorded} runs recorded before, {len(made.tasks)} to make", err=True)
        try:
            with following(quiet=as_json) as follow:
                outcomes = conduct(made, computed, workers or os.cpu_count() or 1, follow)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("Every finished run is filed. Go on with: the same command") from None
    _report(made, outcomes, as_json=as_json)
    if outcomes.failed:
        runs = f"{len(outcomes.failed)} run{'s' * (len(outcomes.failed) > 1)}"
        raise RunError(f"{runs} failed. The same command tries again.")


@command.command("status")
@file_argument
@out_option
@records_option
@json_option
def status(file: Path, out: Path, records: Path | None, as_json: bool) -> None:
    """How many runs of the suite in FILE are done, missing, failed or skipped: entries by datasets and partitions.

    What failed or was skipped is known from the last `fedbench suite run` with the same --out.
    """
    from fedbench_core.suites import outcomes  # noqa: PLC0415  # not for --help
    from fedbench_core.suites.filing import records_of  # noqa: PLC0415  # as above
    from fedbench_core.suites.suite import read_suite  # noqa: PLC0415  # as above

    rows = outcomes.status(read_suite(file), records or records_of(file), out)
    if as_json:
        names = ("entry", "dataset", "partition", "backbones")
        print_json([{**{name: getattr(row, name) for name in names}, **row.grid_points} for row in rows])
        return
    grid = list(dict.fromkeys(_where(row, rows) for row in rows))
    grid_points = {(row.entry, _where(row, rows)): _counts(row.grid_points) for row in rows}
    entries = list(dict.fromkeys(row.entry for row in rows))
    print_table(("entry", *grid), [(entry, *(grid_points[entry, where] for where in grid)) for entry in entries])


def _where(row: "Row", rows: "list[Row]") -> str:
    """The heading of a column; the backbones only where there are several lists of them."""
    several = len({other.backbones for other in rows}) > 1
    return ", ".join([row.dataset, row.partition, *([row.backbones] if several else [])])


def _counts(grid_points: "Mapping[str, int]") -> str:
    return ", ".join(f"{count} {state}" for state, count in grid_points.items() if count)


def _report(made: "Plan", outcomes: "Outcomes", *, as_json: bool) -> None:
    missing = len(outcomes.failed) + len(outcomes.skipped)
    if as_json:
        done = made.grid_points - missing
        told = {"recorded": done, "skipped": outcomes.skipped, "failed": outcomes.failed, "other": made.stale}
        print_json({"suite": made.suite.name, "grid_points": made.grid_points, **told})
        return
    _print_grouped("recorded before, with other versions", made.stale)
    _print_grouped("skipped", outcomes.skipped)
    _print_grouped("failed", outcomes.failed)
    if made.stale:
        print_sentence(
            f"Records kept though made with another spec or other versions: {len(made.stale)}. --fresh replaces them."
        )
    print_sentence(f"{made.grid_points - missing} of {made.grid_points} runs are recorded in {made.records}.")


def _print_grouped(words: str, sentences: "Mapping[str, str]") -> None:
    """A row per sentence: the runs it is about."""
    if not sentences:
        return
    by_sentence = sorted(sentences, key=lambda name: (sentences[name], name))
    groups = [(sentence, list(names)) for sentence, names in groupby(by_sentence, key=lambda name: sentences[name])]
    rows = [(_listed(names), sentence) for sentence, names in groups]
    print_table((words, "because"), rows)
    click.echo()


def _listed(names: list[str]) -> str:
    """Names, not more than a reader takes in; `--json` has all."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
