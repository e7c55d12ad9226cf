"""`fedbench run`: run one experiment and print its scores."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedbench_core.api.errors import RequestError
from fedbench_core.cli.flags import how_flags, read_spec, spec_flags
from fedbench_core.cli.notice import warn_of_broken_plugins
from fedbench_core.cli.output import json_option, print_json
from fedbench_core.cli.progress import Log, Watch, watching
from fedbench_core.cli.report import print_report
from fedbench_core.cli.serving import serving

if TYPE_CHECKING:
    from fedbench_core.runner import Finished, How


@click.command("run")
@click.argument("name", metavar="[METHOD]", required=False)
@spec_flags
@how_flags
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("runs"), help="parent folder of run folders  [default: runs]"
)
@click.option("--fresh", is_flag=True, help="start over in a new folder")
@json_option
def command(name: str | None, config: Path | None, as_json: bool, **flags: Any) -> None:
    """Run a federated method and print its scores.

    METHOD is short for --method METHOD. The run folder is named after the settings. The same command resumes an
    interrupted run, and prints the recorded scores of a finished one.
    """
    how = {name: flags.pop(name) for name in (*HOW, "out", "fresh")}
    spec = read_spec({**flags, "method": _method(name, flags["method"])}, config)

    def start(how: "How", watch: Watch, log: Log) -> "Finished":
        from fedbench_core.runner import run  # noqa: PLC0415  # imports torch: slow, and --help does not need it

        return run(spec, how, watch, log)

    carry_out(start, how, as_json=as_json)


def _method(name: str | None, flag: str | None) -> str | None:
    """The method, given as an argument or by --method; RequestError if both are given and differ."""
    if name and flag and name != flag:
        raise RequestError(f"{name} and --method {flag} are two methods. Give one, or use `fedbench compare`.")
    return name or flag


HOW = (
    "data_root",
    "executor",
    "workers",
    "checkpoint_every",
    "client_timeout",
    "ray_address",
    "gpus_per_client",
    "keep",
)


def carry_out(start: "Callable[[How, Watch, Log], Finished]", how: dict[str, Any], *, as_json: bool) -> None:
    """Compute a run by `start`, show its progress, and print its record or its scores."""
    started = time.monotonic()
    with serving(processes=how["executor"] == "processes"), watching(quiet=as_json) as (watch, log):
        from fedbench_core.registry import registry  # noqa: PLC0415  # imports torch: slow, and --help does not need it
        from fedbench_core.runner import How  # noqa: PLC0415  # as above

        registry()  # so that a broken plugin is reported before the run, not after it
        warn_of_broken_plugins()
        finished = start(How(**how), watch, log)
    if as_json:
        print_json(finished.record)
    else:
        print_report(finished, time.monotonic() - started)
