"""`fedbench resume`: go on with a run that was interrupted."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedbench_core.cli.flags import how_flags
from fedbench_core.cli.output import json_option
from fedbench_core.cli.progress import Say, Watch
from fedbench_core.cli.run import carry_out

if TYPE_CHECKING:
    from fedbench_core.runner import Finished, How


@click.command("resume")
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
@how_flags
@json_option
def command(folder: Path, as_json: bool, **how: Any) -> None:
    """Go on with the interrupted run in the folder RUN.

    Its settings are those it was begun with; how it is computed (workers, executor) may change.
    """

    def start(how: "How", watch: Watch, say: Say) -> "Finished":
        from fedbench_core.runner import resume  # noqa: PLC0415  # imports torch: slow, and --help does not need it

        return resume(folder, how, watch, say)

    carry_out(start, how, as_json=as_json)
