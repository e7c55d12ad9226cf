"""Runs and trackers: each tracker gets the committed rounds that it does not have, during a run or afterwards."""

import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any, Self

from fedbench_core.api import RunLog, TrackedRun, Tracker
from fedbench_core.api.trackers import Setting
from fedbench_core.federation.progress import Event
from fedbench_core.records.rounds import Committed, Rounds, read_committed


class Tracking:
    """Feeds trackers with one run, as a context that closes their logs. What fails is dropped with a warning.

    trackers: by name; warn: prints a sentence.
    """

    def __init__(self, trackers: Mapping[str, Tracker], warn: Callable[[str], None]) -> None:
        self._trackers = dict(trackers)
        self._warn = warn
        self._logs: dict[str, RunLog] = {}
        self._rounds: Rounds | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._close(None)

    def watch(self, event: Event) -> None:
        """After a commit: log the rounds that are new in it."""
        if event.committed:
            self.update(event.folder)

    def update(self, folder: Path) -> None:
        """Log the rounds of a run folder that were not logged yet; of a finished run, its scores and costs, too."""
        if not self._trackers:
            return
        try:
            committed = read_committed(folder)
            if self._rounds is None:
                self._rounds = Rounds(folder)
                self._each(partial(self._start, folder=folder, committed=committed))
            for rounds, scalars in self._rounds.new(committed):
                self._each(partial(self._log, rounds=rounds, scalars=scalars))
        except Exception as error:  # noqa: BLE001  # whatever is wrong with the folder, the run itself says
            self._warn(f"The run is not tracked any more: {_text(error)}")
            self._trackers.clear()
            return
        if committed.summary is not None:
            self._close(committed.summary)

    def _start(self, name: str, *, folder: Path, committed: Committed) -> None:
        own = folder.resolve()
        run = TrackedRun(own.name, _id(own, committed), own.parent / name, _settings(committed.spec))
        self._logs[name] = self._trackers[name].start(run)

    def _log(self, name: str, *, rounds: int, scalars: Mapping[str, float]) -> None:
        if rounds > self._logs[name].rounds:
            self._logs[name].log(rounds, scalars)

    def _close(self, summary: Mapping[str, float] | None) -> None:
        self._each(lambda name: self._logs.pop(name).finish(summary) if name in self._logs else None)

    def _each(self, step: Callable[[str], None]) -> None:
        """Do a step with each tracker; drop one that raises. What it prints must not spoil --json."""
        for name in list(self._trackers):
            try:
                with redirect_stdout(sys.stderr):
                    step(name)
            except (Exception, SystemExit) as error:  # noqa: BLE001  # a tracker may raise anything
                del self._trackers[name]
                self._warn(f"The tracker {name} failed, and gets nothing more of this run: {_text(error)}")


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".removesuffix(": ")


def _id(folder: Path, committed: Committed) -> str:
    """Equal for runs with equal results and folder names: a run may be resumed on another machine."""
    text = json.dumps([folder.name, committed.spec, committed.versions], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _settings(spec: Mapping[str, Any]) -> dict[str, Setting]:
    """The settings that are set, those of parts as `--set` takes them; lists as text."""
    own = {name: value for name, value in {**spec, **spec["set"]}.items() if name != "set" and value is not None}
    return {name: _setting(value) for name, value in own.items()}


def _setting(value: Any) -> Setting:
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return value if isinstance(value, bool | int | float) else str(value)
