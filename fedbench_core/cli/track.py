"""`fedbench track`: recorded runs for TensorBoard, MLflow and others; and the flag `--track` of other commands."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from fedbench_core.api.errors import RunError
from fedbench_core.cli.known import check_names
from fedbench_core.cli.output import print_sentence

if TYPE_CHECKING:
    from fedbench_core.api import Tracker

_NAMES = (
    "tensorboard, mlflow, wandb, or what a plugin adds (`fedbench list trackers`); repeatable, or a list with commas"
)


@click.command("track")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option("--to", "names", multiple=True, required=True, metavar="NAME", help=_NAMES)
def command(runs: tuple[str, ...], names: tuple[str, ...]) -> None:
    """Send runs to trackers such as TensorBoard, which show their settings, curves and scores.

    RUN is the folder of a finished or interrupted run, or of one that is computed now; or a folder of such folders.
    What a tracker has already is not sent again. To track a run from its start: fedbench run --track NAME.
    """
    from fedbench_core.records.runs import run_folders  # noqa: PLC0415  # imports torch: slow, and --help does not need it
    from fedbench_core.tracking import Tracking  # noqa: PLC0415  # as above

    folders, trackers = run_folders(runs), trackers_of(names)
    problems: list[str] = []
    for folder in folders:
        with Tracking(trackers, problems.append) as tracking:
            tracking.update(folder)
        if problems:
            raise RunError(f"{folder}: {' '.join(problems)} The same command continues.")
    print_sentence(f"Runs sent to {', '.join(trackers)}: {len(folders)}.")


def track_flag(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flag --track."""
    return click.option("--track", multiple=True, metavar="NAME", help=f"show each run in {_NAMES}")(function)


def trackers_of(names: Sequence[str]) -> "dict[str, Tracker]":
    """The trackers that are named, ready to be used; RequestError for one that is unknown or not installed."""
    listed = list(dict.fromkeys(name.strip() for text in names for name in text.split(",") if name.strip()))
    for name in listed:
        check_names({"tracker": name})
    if not listed:
        return {}
    from fedbench_core.registry import registry  # noqa: PLC0415  # imports torch

    found = {name: registry().make("tracker", name) for name in listed}
    for tracker in found.values():
        tracker.check()
    return found
