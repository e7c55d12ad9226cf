"""The progress of a run or a suite on stderr: a bar on a terminal, lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from fedbench_core.cli.units import bytes_text, seconds_text

if TYPE_CHECKING:
    from fedbench_core.federation.progress import Event
    from fedbench_core.suites.running import SuiteProgress

Watch = Callable[["Event"], None]
Log = Callable[[str], None]
Follow = Callable[["SuiteProgress"], None]


@contextmanager
def watching(*, quiet: bool) -> Iterator[tuple[Watch, Log]]:
    """Show the progress of a run: a function that takes its events, and one that prints a line."""
    if quiet:
        yield (lambda _event: None), (lambda _line: None)
    elif sys.stderr.isatty():
        with _bars() as progress:
            yield _bar(progress), (lambda line: progress.console.print(line, highlight=False))
    else:
        yield _lines(), (lambda line: click.echo(line, err=True))


@contextmanager
def following(*, quiet: bool) -> Iterator[Follow]:
    """Show the progress of a suite: a function that takes its steps."""
    if quiet:
        yield lambda _step: None
    elif sys.stderr.isatty():
        with _bars() as progress:
            yield _suite_bar(progress)
    else:
        yield _suite_lines(lambda line: click.echo(line, err=True), left=True)


def _bars() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[status]}"),
        TimeRemainingColumn(),
    )
    # Runs of a suite end minutes apart: the default period of 30 s would contain none of them.
    return Progress(*columns, console=Console(stderr=True), transient=True, speed_estimate_period=3600)


def _suite_bar(progress: Progress) -> Follow:
    task = progress.add_task("starting", total=1.0, status="")
    print_lines = _suite_lines(lambda line: progress.console.print(line, highlight=False, markup=False), left=False)

    def follow(step: "SuiteProgress") -> None:
        progress.update(task, completed=step.fraction, description=f"{step.ended}/{step.runs} runs")
        print_lines(step)

    return follow


def _suite_lines(log: Log, *, left: bool) -> Follow:
    """Print a line for each run that ends, with the time left if no bar shows it, and the messages of runs."""
    start = time.monotonic()

    def follow(step: "SuiteProgress") -> None:
        if step.line:
            log(step.line)
        if step.grid_point is not None:
            seconds = (time.monotonic() - start) * (1 / step.fraction - 1)
            ends = [f"{seconds_text(seconds)} left"] if left else []
            why_not = [f"not recorded: {step.reason}"] if step.reason else []
            log("  ".join([f"{step.ended}/{step.runs} runs", step.grid_point.name, *why_not, *ends]))

    return follow


def _bar(progress: Progress) -> Watch:
    task = progress.add_task("starting", total=None, status="")

    def watch(event: "Event") -> None:
        done = event.round + event.turns / max(1, event.expected) if event.point is None else event.done
        progress.update(
            task,
            total=event.rounds,
            completed=min(done, event.rounds),
            description=f"{event.done}/{event.rounds} rounds",
            status=_status(event),
        )

    return watch


def _lines() -> Watch:
    start, before = time.monotonic(), -1

    def watch(event: "Event") -> None:
        nonlocal before
        if event.done <= max(before, 0):
            return
        before = event.done
        left = (time.monotonic() - start) / before * (event.rounds - before)
        click.echo(f"{before}/{event.rounds} rounds  {_status(event)}  {seconds_text(left)} left", err=True)

    return watch


def _status(event: "Event") -> str:
    """The last point of the learning curve, and the bytes sent so far."""
    point = event.curve
    score = point and point["personalization"]
    text = f"personalization {score:.3f} ({point['split']})  " if point and score is not None else ""
    return f"{text}{bytes_text(event.bytes_sent)} sent"
