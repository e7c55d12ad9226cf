"""Trackers: programs that show the settings, curves and scores of many runs, such as TensorBoard."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

Setting = bool | int | float | str


@dataclass(frozen=True)
class TrackedRun:
    """A run that is to be tracked.

    name: of its folder; id: different for all runs, also on other machines; folder: where the tracker keeps its files,
    one for all runs of an --out; settings: those of `fedbench run`, by name.
    """

    name: str
    id: str
    folder: Path
    settings: Mapping[str, Setting]


class RunLog(Protocol):
    """What a tracker holds of one run.

    rounds: how many rounds it held at the start, from an earlier command. They are not logged again.
    """

    rounds: int

    def log(self, rounds: int, scalars: Mapping[str, float]) -> None:
        """Add the scalars after so many rounds, by names such as `train/loss` and `val/auc`. Rounds come in order."""
        ...

    def finish(self, summary: Mapping[str, float] | None) -> None:
        """Add the test scores and costs, unless they were added before, and close; None if the run has not ended."""
        ...


class Tracker(Protocol):
    """Keeps runs for a program that shows them. It reads only: whatever it does, the run and its record are the same.

    If it raises in the middle of a run, a warning is printed, and the run goes on without it.
    """

    def check(self) -> None:
        """Called before a run. RequestError if it can't be used, with what to install."""

    def start(self, run: TrackedRun) -> RunLog:
        """The log of a run, new or as an earlier command left it."""
        ...
