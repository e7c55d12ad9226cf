"""The progress of a run or a suite on stderr: a bar on a terminal, lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from fedbench_core.cli.output import echo
from fedbench_core.cli.units import bytes_text, seconds_text
from fedbench_core.escapes import lines

if TYPE_CHECKING:
    from fedbench_core.federation.progress import Event
    from fedbench_core.suites.running import SuiteProgress

Watch = Callable[["Event"], None]
Log = Callable[[str], None]
Follow = Callable[["SuiteProgress"], None]


def announce(*, quiet: bool) -> None:
    """Print that the command starts, which takes seconds: it imports torch. A bar replaces the line on a terminal."""
    if not quiet and sys.stderr.isatty():
        sys.stderr.write("starting\r")
        sys.stderr.flush()
    elif not quiet:
        echo("starting", err=True)


@contextmanager
def watching(*, quiet: bool) -> Iterator[tuple[Watch, Log]]:
    """Show the progress of a run: a function that takes its events, and one that prints a line."""
    if quiet:
        yield (lambda _event: None), (lambda _line: None)
    elif sys.stderr.isatty():
        with _bars() as progress:
            yield _bar(progress), (lambda line: progress.console.print(Text(lines(line)), highlight=False))
    else:
        yield _lines(), (lambda line: echo(line, err=True))


@contextmanager
def following(*, quiet: bool) -> Iterator[Follow]:
    """Show the progress of a suite: a function that takes its steps."""
    if quiet:
        yield lambda _step: None
    elif sys.stderr.isatty():
        with _bars() as progress:
            yield _suite_bar(progress)
    else:
        yield _suite_lines(lambda line: echo(line, err=True), left=True)


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
    print_lines = _suite_lines(lambda line: progress.console.print(Text(lines(line)), highlight=False), left=False)

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
        if event.stage:
            progress.update(task, description=event.stage)
            return
        progress.update(
            task,
            total=event.rounds,
            completed=_rounds(event),
            description=f"{event.done}/{event.rounds} rounds",
            status=_status(event),
        )

    return watch


def _lines() -> Watch:
    clock, before = Clock(), 0

    def watch(event: "Event") -> None:
        nonlocal before
        if event.stage:
            echo(event.stage, err=True)
            return
        left = clock.left(_rounds(event), event.rounds)
        if event.done > before:
            before = event.done
            ends = "" if left is None else f"  {seconds_text(left)} left"
            echo(f"{before}/{event.rounds} rounds  {_status(event)}{ends}", err=True)

    return watch


class Clock:
    """How long the rest of a run takes, judged by what it took since its first turn: the start is not repeated."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._first: tuple[float, float] | None = None

    def left(self, done: float, total: float) -> float | None:
        """The seconds left when `done` of `total` are done; None before a second call with more."""
        first = self._first = self._first or (self._now(), done)
        return (self._now() - first[0]) / (done - first[1]) * (total - done) if done > first[1] else None


def _rounds(event: "Event") -> float:
    """The rounds that are done, with the fraction of the present one; its evaluation counts as one more turn."""
    part = 0.0 if event.point is not None else event.turns / (event.expected + 1)
    return min(max(event.done, event.round + part), event.rounds)


def _status(event: "Event") -> str:
    """The last point of the learning curve, and the bytes sent so far."""
    point = event.curve
    score = point and point["personalization"]
    mean = f", mean of {event.averaged} rounds" if event.averaged > 1 else ""
    text = f"personalization {score:.3f} ({point['split']}{mean})  " if point and score is not None else ""
    return f"{text}{bytes_text(event.bytes_sent)} sent"
