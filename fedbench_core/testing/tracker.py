"""The contract of trackers."""

from pathlib import Path

import pytest

from fedbench_core.api import RequestError, RunLog, TrackedRun, Tracker
from fedbench_core.api.trackers import Setting
from fedbench_core.testing.contract import ValueContract

_SCALARS = ({"train/loss": 0.7, "bytes/up": 1e6}, {"train/loss": float("nan"), "val/auc": 0.5})
_SUMMARY = {"auc": 0.75, "seconds": 1.5}


def _run(folder: Path, number: int = 0) -> TrackedRun:
    settings: dict[str, Setting] = {
        "method": "local",
        "lr": 0.1,
        "rounds": 2,
        "public": False,
        "dataset": 'it\'s a "set"',
    }
    return TrackedRun(f"local-spots-s{number}-0123abcd", f"{number:016x}", folder, settings)


def _logged(log: RunLog) -> RunLog:
    """The log after the rounds that it does not have."""
    for number, scalars in enumerate(_SCALARS, start=1):
        if number > log.rounds:
            log.log(number, scalars)
    return log


class TrackerContract(ValueContract[Tracker]):
    """A tracker remembers which rounds it has, and can be started again at any time."""

    kind = "tracker"

    @pytest.fixture
    def part(self) -> Tracker:
        """The tracker under test; the suite is skipped where what it needs is not installed."""
        tracker = self.make()
        try:
            tracker.check()
        except RequestError as error:
            pytest.skip(str(error))
        return tracker

    def test_interrupted_run_continues(self, part: Tracker, tmp_path: Path) -> None:
        """A run that was interrupted is known with its rounds, so that none is logged twice."""
        log = part.start(_run(tmp_path))
        assert log.rounds == 0, f"a new run has {log.rounds} rounds already; expected 0"
        log.log(1, _SCALARS[0])
        log.finish(None)
        again = self.make().start(_run(tmp_path))
        assert again.rounds == 1, f"after 1 round and a restart, {again.rounds} are known: some would be repeated"
        _logged(again).finish(_SUMMARY)

    def test_finished_run_can_be_sent_again(self, part: Tracker, tmp_path: Path) -> None:
        """A second export of a finished run has nothing to add, and ends without an error."""
        _logged(part.start(_run(tmp_path))).finish(_SUMMARY)
        again = part.start(_run(tmp_path))
        assert again.rounds == len(_SCALARS), f"a finished run of {len(_SCALARS)} rounds is known with {again.rounds}"
        again.finish(_SUMMARY)

    def test_runs_are_kept_apart(self, part: Tracker, tmp_path: Path) -> None:
        """Runs of one folder don't share their rounds, also when both are open."""
        logs = [part.start(_run(tmp_path, number)) for number in (0, 1)]
        logs[0].log(1, _SCALARS[0])
        for log in logs:
            log.finish(None)
        known = [part.start(_run(tmp_path, number)).rounds for number in (0, 1)]
        assert known == [1, 0], f"after a round of the first of two runs they are known with {known} rounds"
