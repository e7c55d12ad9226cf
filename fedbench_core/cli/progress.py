"""News from a running federation: a bar on a terminal, a line per round elsewhere. Both on stderr."""

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
    from fedbench_core.suites.conduct import Step

Watch = Callable[["Event"], None]
Say = Callable[[str], None]
Follow = Callable[["Step"], None]


@contextmanager
def watching(*, quiet: bool) -> Iterator[tuple[Watch, Say]]:
    """A watcher of events and a teller of single lines, for the length of a run."""
    if quiet:
        yield (lambda _event: None), (lambda _line: None)
    elif sys.stderr.isatty():
        with _bars() as progress:
            yield _bar(progress), (lambda line: progress.console.print(line, highlight=False))
    else:
        yield _lines(), (lambda line: click.echo(line, err=True))


@contextmanager
def following(*, quiet: bool) -> Iterator[Follow]:
    """A follower of a suite's steps, for its length."""
    if quiet:
        yield lambda _step: None
    elif sys.stderr.isatty():
        with _bars() as progress:
            yield _suite_bar(progress)
    else:
        yield _suite_lines(lambda line: click.echo(line, err=True), left=True)


def _bars() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[news]}"), TimeRemainingColumn())
    # Runs of a suite end minutes apart: a shorter memory would forget them.
    return Progress(*columns, console=Console(stderr=True), transient=True, speed_estimate_period=3600)


def _suite_bar(progress: Progress) -> Follow:
    task = progress.add_task("starting", total=1.0, news="")
    tell = _suite_lines(lambda line: progress.console.print(line, highlight=False, markup=False), left=False)

    def follow(step: "Step") -> None:
        progress.update(task, completed=step.part, description=f"{step.ended}/{step.runs} runs")
        tell(step)

    return follow


def _suite_lines(say: Say, *, left: bool) -> Follow:
    """A line for each run that ends, and what runs say; the time left too, where no bar shows it."""
    start = time.monotonic()

    def follow(step: "Step") -> None:
        if step.said:
            say(step.said)
        if step.grid_point is not None:
            seconds = (time.monotonic() - start) * (1 / step.part - 1)
            ends = [f"{seconds_text(seconds)} left"] if left else []
            why_not = [f"not recorded: {step.why_not}"] if step.why_not else []
            say("  ".join([f"{step.ended}/{step.runs} runs", step.grid_point.name, *why_not, *ends]))

    return follow


def _bar(progress: Progress) -> Watch:
    task = progress.add_task("starting", total=None, news="")

    def watch(event: "Event") -> None:
        done = event.round + event.turns / max(1, event.expected) if event.point is None else event.done
        progress.update(
            task,
            total=event.rounds,
            completed=min(done, event.rounds),
            description=f"{event.done}/{event.rounds} rounds",
            news=_news(event),
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
        click.echo(f"{before}/{event.rounds} rounds  {_news(event)}  {seconds_text(left)} left", err=True)

    return watch


def _news(event: "Event") -> str:
    """The last point of the curve, and the bytes so far."""
    point = event.curve
    score = point and point["personalization"]
    told = f"personalization {score:.3f} ({point['split']})  " if point and score is not None else ""
    return f"{told}{bytes_text(event.bytes_sent)} sent"
