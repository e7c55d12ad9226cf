"""The progress of a run or a suite on stderr: bars on a terminal, lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from fedbench_core.cli.output import can_move, echo
from fedbench_core.cli.units import bytes_text, seconds_text
from fedbench_core.escapes import line as one_line
from fedbench_core.escapes import lines

if TYPE_CHECKING:
    from fedbench_core.federation.progress import Event
    from fedbench_core.suites.running import SuiteProgress

Watch = Callable[["Event"], None]
Log = Callable[[str], None]
Follow = Callable[["SuiteProgress"], None]
_MOST_ROWS = 8
"""Lines for workers or runs below the bar."""


def announce(*, quiet: bool) -> None:
    """Print that the command starts, which takes seconds: it imports torch. A bar replaces the line on a terminal."""
    if not quiet and can_move(sys.stderr):
        sys.stderr.write("starting\r")
        sys.stderr.flush()
    elif not quiet:
        echo("starting", err=True)


@contextmanager
def watching(*, quiet: bool) -> Iterator[tuple[Watch, Log]]:
    """Show the progress of a run: a function that takes its events, and one that prints a line."""
    if quiet:
        yield (lambda _event: None), (lambda _line: None)
    elif can_move(sys.stderr):
        with _Display() as display:
            yield _run_display(display), display.print_line
    else:
        yield _lines(), (lambda line: echo(line, err=True))


@contextmanager
def following(*, quiet: bool) -> Iterator[Follow]:
    """Show the progress of a suite: a function that takes its steps."""
    if quiet:
        yield lambda _step: None
    elif can_move(sys.stderr):
        with _Display() as display:
            yield _suite_display(display)
    else:
        yield _suite_lines(lambda line: echo(line, err=True), left=True)


class _Display(Progress):
    """A bar; below it a line of text, and a line for each worker or run, with the seconds since it was first shown."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        self._status = ""
        self._rows: Mapping[str, str] = {}
        self._since: dict[str, float] = {}
        # Runs of a suite end minutes apart: the default period of 30 s would contain none of them.
        super().__init__(*columns, console=Console(stderr=True), transient=True, speed_estimate_period=3600)
        self._task = self.add_task("starting", total=None)

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bar and the lines below it."""
        yield self.make_tasks_table(self.tasks)
        if self._status:
            yield Text(one_line(self._status))
        rows, now = list(self._rows.items()), time.monotonic()
        for name, text in rows[:_MOST_ROWS]:
            seconds = f"{now - self._since[name]:.0f} s"
            yield Text(one_line("  ".join(filter(None, (name, text, seconds)))), no_wrap=True, overflow="ellipsis")
        if len(rows) > _MOST_ROWS:
            yield Text(f"and {len(rows) - _MOST_ROWS} more")

    def show(self, description: str, done: float = 0.0, total: float | None = None, status: str = "") -> None:
        """What the bar shows, and the line below it."""
        self._status = status
        self.update(self._task, description=description, completed=done, total=total)

    def show_rows(self, rows: Mapping[str, str]) -> None:
        """The workers or runs by name, with a text for each."""
        now = time.monotonic()
        self._since = {name: self._since.get(name, now) for name in rows}
        self._rows = rows

    def print_line(self, text: str) -> None:
        """Print a line above the bar."""
        self.console.print(Text(lines(text)), highlight=False)


def _run_display(display: _Display) -> Watch:
    def watch(event: "Event") -> None:
        if event.stage:
            display.show(event.stage)
            return
        display.show(f"{event.done}/{event.rounds} rounds", event.rounds_done, event.rounds, _status(event))
        if event.working:
            workers = enumerate(event.working, start=1)
            display.show_rows({f"worker {number}  {doing or 'waits'}": "" for number, doing in workers})

    return watch


def _suite_display(display: _Display) -> Follow:
    print_lines = _suite_lines(display.print_line, left=False)

    def follow(step: "SuiteProgress") -> None:
        display.show(f"{step.ended}/{step.runs} runs", step.fraction, 1.0)
        display.show_rows({name: f"{share:.0%}" for name, share in step.running.items()})
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


def _lines() -> Watch:
    clock, before = Clock(), 0

    def watch(event: "Event") -> None:
        nonlocal before
        if event.stage:
            echo(event.stage, err=True)
            return
        left = clock.left(event.rounds_done, event.rounds)
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


def _status(event: "Event") -> str:
    """The training loss, the last point of the learning curve, and the bytes sent so far."""
    texts = [] if event.loss is None else [f"loss {event.loss:.3f}"]
    if event.curve and (score := event.curve["personalization"]) is not None:
        mean = f", mean of {event.averaged} rounds" if event.averaged > 1 else ""
        texts.append(f"personalization {score:.3f} ({event.curve['split']}{mean})")
    return "  ".join([*texts, f"{bytes_text(event.bytes_sent)} sent"])
