"""`fedbench run`: run one experiment and print its scores."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedbench_core.api.errors import RequestError
from fedbench_core.cli.flags import how_flags, read_seeds, read_spec, spec_flags
from fedbench_core.cli.output import json_option
from fedbench_core.cli.progress import Log, Watch
from fedbench_core.cli.single_runs import carry_out, carry_out_all
from fedbench_core.cli.track import track_flag

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
@click.option("--seeds", metavar="N|A,B,...", help="run with several seeds, one after the other; print mean and SD")
@track_flag
@json_option
def command(
    name: str | None, config: Path | None, seeds: str | None, track: tuple[str, ...], as_json: bool, **flags: Any
) -> None:
    """Run a federated method and print its scores.

    METHOD is short for --method METHOD. The run folder is named after the settings. The same command resumes an
    interrupted run, and prints the recorded scores of a finished one. --seed 0,1,2 is the same as --seeds 0,1,2.
    """
    how = {name: flags.pop(name) for name in (*HOW, "out", "fresh")}
    flags["method"] = _method(name, flags["method"])
    if several := _seeds(flags, seeds):
        carry_out_all(
            [read_spec({**flags, "seed": str(seed)}, config) for seed in several], how, track, as_json=as_json
        )
        return
    spec = read_spec(flags, config)

    def start(how: "How", watch: Watch, log: Log) -> "Finished":
        from fedbench_core.runner import run  # noqa: PLC0415  # imports torch: slow, and --help does not need it

        return run(spec, how, watch, log)

    carry_out(start, how, track, as_json=as_json)


def _method(name: str | None, flag: str | None) -> str | None:
    """The method, given as an argument or by --method; RequestError if both are given and differ."""
    if name and flag and name != flag:
        raise RequestError(f"{name} and --method {flag} are two methods. Give one, or use `fedbench compare`.")
    return name or flag


def _seeds(flags: dict[str, Any], seeds: str | None) -> tuple[int, ...]:
    """The seeds of several runs; none for one run."""
    listed = flags["seed"] if "," in (flags["seed"] or "") else None
    if seeds and flags["seed"]:
        raise RequestError(f"--seeds {seeds} and --seed {flags['seed']} are both given. Leave one out.")
    return read_seeds(seeds) if seeds else read_seeds(listed, "--seed") if listed else ()


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
