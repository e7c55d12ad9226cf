"""What the commands share that compute many runs of a suite: their flags, the runs, and what they print of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedbench_core.cli.flags import data_flag, ray_flags
from fedbench_core.cli.output import echo, json_option, print_table
from fedbench_core.cli.progress import following
from fedbench_core.cli.serving import serving
from fedbench_core.cli.track import trackers_of

if TYPE_CHECKING:
    from fedbench_core.api import Tracker
    from fedbench_core.cli.progress import Follow
    from fedbench_core.runner import How
    from fedbench_core.suites.grid import GridPoint
    from fedbench_core.suites.running import SuitePlan, SuiteProgress
    from fedbench_core.suites.status import Unrecorded

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


_RUNNING = (
    click.option(
        "--workers",
        type=click.IntRange(min=1),
        metavar="N",
        help="number of parallel runs  [default: as many as cores, or as GPUs]",
    ),
    click.option(
        "--checkpoint-every", type=click.IntRange(min=1), default=1, metavar="K", help="rounds between checkpoints"
    ),
    out_option,
    records_option,
    data_flag,
    ray_flags,
    click.option(
        "--executor",
        type=click.Choice(["processes", "ray"]),
        default="processes",
        help="where runs are computed, each in one process  [default: processes]",
    ),
    click.option("--fresh", is_flag=True, help="repeat runs that were recorded with other settings or versions"),
    json_option,
)


def running(function: Callable[..., None]) -> Callable[..., None]:
    """Add the flags of a command that computes runs."""
    for option in reversed(_RUNNING):
        function = option(function)
    return function


def compute(
    file: Path,
    plan: "Callable[[], tuple[str, list[GridPoint]]]",
    records: Path,
    warn: Callable[[], None] = lambda: None,
    track: Sequence[str] = (),
    *,
    as_json: bool,
    workers: int | None,
    out: Path,
    fresh: bool,
    **how: Any,
) -> "tuple[SuitePlan, Unrecorded]":
    """Compute the missing runs of a name and its grid points; what was planned, and which have no record.

    warn: prints what else is to be known, once the plan is found to be valid; track: names of trackers.
    """
    with serving("fedbench_core.suites.imported", processes=how["executor"] == "processes"):
        from fedbench_core.runner import How  # noqa: PLC0415  # imports torch: slow, and --help does not need it
        from fedbench_core.suites.running import plan_runs  # noqa: PLC0415  # as above

        trackers = trackers_of(track)
        computed = How(out=out, fresh=fresh, workers=workers, **how)
        made = plan_runs(*plan(), records, computed, str(file))
        if not as_json:
            warn()
        if made.runs and not as_json:
            echo(f"{made.name}: {made.recorded} runs already recorded, {len(made.runs)} to run", err=True)
        return made, run_planned(made, computed, "The records of finished runs are kept.", trackers, quiet=as_json)


def run_planned(
    plan: "SuitePlan", how: "How", kept: str, trackers: "Mapping[str, Tracker]", *, quiet: bool
) -> "Unrecorded":
    """Compute planned runs with their progress; which have no record. kept: what an interruption leaves.

    Each run is sent to the trackers when it has ended.
    """
    from fedbench_core.suites.running import run_suite  # noqa: PLC0415  # as above

    try:
        with following(quiet=quiet) as follow:
            return run_suite(plan, how, partial(_tracked, follow, trackers, quiet) if trackers else follow)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{kept} Continue with the same command.") from None


def _tracked(follow: "Follow", trackers: "Mapping[str, Tracker]", quiet: bool, step: "SuiteProgress") -> None:
    """Show a step; if a run has ended in it, send that to the trackers."""
    from fedbench_core.tracking import Tracking  # noqa: PLC0415  # as above

    def warn(line: str) -> None:
        text = f"{line} (to send it again: fedbench track {step.folder} --to NAME)"
        echo(text, err=True) if quiet else follow(replace(step, line=text, grid_point=None))

    follow(step)
    if step.folder is not None:
        with Tracking(trackers, warn) as tracking:
            tracking.update(step.folder)


def print_grouped(heading: str, reasons: Mapping[str, str]) -> None:
    """Print a row for each reason, with the runs that share it."""
    if not reasons:
        return
    by_reason = sorted(reasons, key=lambda name: (reasons[name], name))
    rows = [(listed(list(names)), reason) for reason, names in groupby(by_reason, key=reasons.__getitem__)]
    print_table((heading, "reason"), rows)
    echo()


def listed(names: Sequence[str]) -> str:
    """The first names, and the number of others; `--json` has all of them."""
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more
