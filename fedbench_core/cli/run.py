"""`fedbench run`: one federation, from a command line to a table."""

from pathlib import Path
from typing import Any

import click

from fedbench_core.cli.flags import place_flags, read_spec, spec_flags
from fedbench_core.cli.output import json_option, print_json
from fedbench_core.cli.progress import watching
from fedbench_core.cli.report import print_report


@click.command("run")
@spec_flags
@place_flags
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("runs"), help="where run folders are  [default: runs]"
)
@click.option("--fresh", is_flag=True, help="run again what is recorded already, into a folder of its own")
@json_option
def command(config: Path | None, data_root: Path | None, out: Path, fresh: bool, as_json: bool, **flags: Any) -> None:
    """Run a method on a federation and print its scores.

    A run's folder is named after its settings: the same command finds a finished run again instead of repeating it.
    """
    spec = read_spec(flags, config)
    from fedbench_core.results.run import How, run  # noqa: PLC0415  # torch: seconds that --help does not need

    how = How(out=out, data_root=data_root, fresh=fresh)
    with watching(quiet=as_json) as (watch, say):
        finished = run(spec, how, watch, say)
    if as_json:
        print_json(finished.record)
        return
    print_report(finished)
