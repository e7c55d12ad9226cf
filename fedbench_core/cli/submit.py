"""`fedbench submit`: add the record of a run to a suite."""

from pathlib import Path

import click

from fedbench_core.cli.computing import records_option
from fedbench_core.cli.output import json_option, print_json, print_sentence


@click.command("submit")
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--suite", "file", required=True, type=click.Path(path_type=Path), metavar="FILE", help="file of the suite"
)
@records_option
@json_option
def command(run: Path, file: Path, records: Path | None, as_json: bool) -> None:
    """Add the record of a run to a suite.

    RUN is a run's folder or its record.json. The record must be complete, and its settings must be those of a grid
    point of the suite.
    """
    from fedbench_core.suites.filed_records import records_folder  # noqa: PLC0415  # imports torch: slow, and --help does not need it
    from fedbench_core.suites.files import read_suite  # noqa: PLC0415  # as above
    from fedbench_core.suites.submit import submit  # noqa: PLC0415  # as above

    filed = submit(run, read_suite(file), records or records_folder(file))
    if as_json:
        print_json([{**one.grid_point.block, "path": one.path, "already_filed": one.already_filed} for one in filed])
        return
    for one in filed:
        words = "Already filed" if one.already_filed else "Filed"
        print_sentence(f"{words} as {one.grid_point.entry}, seed {one.grid_point.seed}: {one.path}")
