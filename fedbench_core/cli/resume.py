"""`fedbench resume`: continue an interrupted run."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedbench_core.cli.flags import how_flags
from fedbench_core.cli.output import json_option
from fedbench_core.cli.progress import Log, Watch
from fedbench_core.cli.single_runs import carry_out
from fedbench_core.cli.track import track_flag

if TYPE_CHECKING:
    from fedbench_core.runner import Finished, How


@click.command("resume")
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
@how_flags
@track_flag
@json_option
def command(folder: Path, track: tuple[str, ...], as_json: bool, **how: Any) -> None:
    """Resume the interrupted run in the folder RUN.

    The settings of the run are kept; the number of workers and the executor may change.
    """

    def start(how: "How", watch: Watch, log: Log) -> "Finished":
        from fedbench_core.runner import resume  # noqa: PLC0415  # imports torch: slow, and --help does not need it

        return resume(folder, how, watch, log)

    carry_out(start, how, track, as_json=as_json)
