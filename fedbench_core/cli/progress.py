"""News from a running federation: a bar on a terminal, a line per round elsewhere. Both on stderr."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from fedbench_core.cli.units import bytes_text, seconds_text

if TYPE_CHECKING:
    from fedbench_core.federation.engine import Event

Watch = Callable[["Event"], None]
Say = Callable[[str], None]


@contextmanager
def watching(*, quiet: bool) -> Iterator[tuple[Watch, Say]]:
    """A watcher of events and a teller of single lines, for the length of a run."""
    if quiet:
        yield (lambda _event: None), (lambda _line: None)
    elif sys.stderr.isatty():
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[news]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            yield _bar(progress), (lambda line: progress.console.print(line, highlight=False))
    else:
        yield _lines(), (lambda line: click.echo(line, err=True))


def _bar(progress: Progress) -> Watch:
    task = progress.add_task("starting", total=None, news="")

    def watch(event: "Event") -> None:
        done = event.round + event.visits / max(1, event.expected) if event.point is None else event.progress.round
        progress.update(
            task,
            total=event.rounds,
            completed=min(done, event.rounds),
            description=f"{event.progress.round}/{event.rounds} rounds",
            news=_news(event),
        )

    return watch


def _lines() -> Watch:
    start, before = time.monotonic(), -1

    def watch(event: "Event") -> None:
        nonlocal before
        if event.progress.round <= max(before, 0):
            return
        before = event.progress.round
        left = (time.monotonic() - start) / before * (event.rounds - before)
        click.echo(f"{before}/{event.rounds} rounds  {_news(event)}  {seconds_text(left)} left", err=True)

    return watch


def _news(event: "Event") -> str:
    """The last point of the curve, and the bytes so far."""
    progress = event.progress
    point: dict[str, Any] | None = progress.curve[-1] if progress.curve else None
    score = point and point["personalisation"]
    told = f"accuracy {score:.3f} ({point['split']})  " if point and score is not None else ""
    moved = progress.bytes_up + progress.bytes_down + progress.bytes_peer
    return f"{told}{bytes_text(moved)} sent"
