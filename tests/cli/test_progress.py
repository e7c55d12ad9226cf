"""The progress of a run: what is printed, and how much time it says is left."""

import io
from pathlib import Path

import pytest
from rich.console import Console, Group

from fedbench_core.cli import progress
from fedbench_core.cli.output import can_move
from fedbench_core.cli.progress import Clock
from fedbench_core.federation.progress import Event
from fedbench_core.suites.running import SuiteProgress


@pytest.mark.parametrize(
    ("calls", "left"),
    [
        ([(40.0, 0.5, 4)], [None]),
        ([(40.0, 0.5, 4), (45.0, 1.0, 4)], [None, 30.0]),
        ([(40.0, 2.0, 4), (50.0, 3.0, 4), (60.0, 4.0, 4)], [None, 10.0, 0.0]),
    ],
    ids=["first turn", "first round after a slow start", "resumed"],
)
def test_time_left_is_judged_by_what_was_done_since_the_first_turn(calls, left) -> None:
    now = 0.0
    clock = Clock(lambda: now)
    found = []
    for now, done, total in calls:  # noqa: B007  # the clock reads it
        found.append(clock.left(done, total))
    assert found == left


def shown(display, width) -> str:
    console = Console(width=width, file=io.StringIO())
    console.print(Group(*display.get_renderables()))
    return console.file.getvalue()


@pytest.mark.parametrize("width", [40, 80, 200])
def test_display_of_a_run_shows_workers_and_breaks_no_word(width) -> None:
    display = progress._Display()
    point = {"personalization": 0.8123, "split": "val"}
    working = ("trains client 3", "", *(f"scores clients with mobilenetv3_small_{number} (val)" for number in range(9)))
    event = Event(Path("run"), 3, 10, 2, 6, 3, 12_300_000, curve=point, loss=0.6, working=working)
    progress._run_display(display)(event)
    text = shown(display, width)
    assert max(map(len, text.splitlines())) <= width
    assert {"3/10", "loss", "0.600", "personalization", "0.812", "(val)", "12.3", "MB"} <= set(text.split())
    for line in ("worker 1  trains client 3  0 s", "worker 2  waits", "and 3 more"):
        assert line in text


def test_display_of_a_suite_shows_the_runs_that_are_computed() -> None:
    display = progress._Display()
    progress._suite_display(display)(SuiteProgress(0.4, 1, 4, running={"fedavg-s0": 0.25, "local-s1": 0.0}))
    assert [line.split()[:2] for line in shown(display, 80).splitlines()[1:]] == [
        ["fedavg-s0", "25%"],
        ["local-s1", "0%"],
    ]


@pytest.mark.parametrize(("term", "moves"), [("xterm", True), ("dumb", False), ("", False)])
def test_dumb_terminal_gets_lines(monkeypatch, term, moves) -> None:
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", term)
    if not term:
        monkeypatch.delenv("TERM")
    assert can_move(Terminal()) is moves
    assert not can_move(io.StringIO())
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    progress.announce(quiet=False)
    assert terminal.getvalue() == ("starting\r" if moves else "starting\n")
