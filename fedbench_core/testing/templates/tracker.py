"""The tracker `example` for fedbench."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fedbench_core.api import RunLog, TrackedRun, Tracker, hookimpl

api_version = 2


@dataclass(frozen=True)
class Example(Tracker):
    """A file with a line of JSON for each round."""

    def start(self, run: TrackedRun) -> RunLog:
        """The file of a run, in which an earlier command may have written."""
        # Your idea goes here: `run.name` is for people, `run.id` for programs, `run.settings` holds all settings.
        run.folder.mkdir(parents=True, exist_ok=True)
        return ExampleLog(run.folder / f"{run.name}.jsonl")


class ExampleLog(RunLog):
    """The lines of a run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rounds = len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0

    def log(self, rounds: int, scalars: Mapping[str, float]) -> None:
        """Add a line."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"rounds": rounds, **scalars}) + "\n")

    def finish(self, summary: Mapping[str, float] | None) -> None:
        """Write the test scores, if the run has ended."""
        if summary is not None:
            self.path.with_suffix(".json").write_text(json.dumps(dict(summary)), encoding="utf-8")


@hookimpl
def fedbench_register_trackers() -> Mapping[str, type[Tracker]]:
    """The tracker, by name."""
    return {"example": Example}
