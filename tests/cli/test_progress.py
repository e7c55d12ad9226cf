"""The progress of a run: what is printed, and how much time it says is left."""

import pytest

from fedbench_core.cli.progress import Clock


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
