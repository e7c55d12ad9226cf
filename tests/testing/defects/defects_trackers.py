"""Trackers that each do one thing wrong: {name: (class, the case that shows it, a part of its message)}."""

from dataclasses import dataclass

from fedbench_core.api import RunLog, Tracker, hookimpl


class Lines(RunLog):
    def __init__(self, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.rounds = len(path.read_text().splitlines()) if path.exists() else 0

    def log(self, rounds, scalars):
        with self.path.open("a") as file:
            file.write(f"{rounds}\n")

    def finish(self, summary):
        pass


class Forgetful(Lines):
    def __init__(self, path):
        super().__init__(path)
        self.rounds = 0


class Once(Lines):
    def finish(self, summary):
        if summary is not None:
            self.path.with_suffix(".end").touch(exist_ok=False)


class CountsTheSummary(Lines):
    def finish(self, summary):
        if summary is not None:
            self.log(0, summary)


@dataclass(frozen=True)
class Forgets(Tracker):
    def start(self, run):
        return Forgetful(run.folder / run.name)


@dataclass(frozen=True)
class EndsOnce(Tracker):
    def start(self, run):
        return Once(run.folder / run.name)


@dataclass(frozen=True)
class OneTooMany(Tracker):
    def start(self, run):
        return CountsTheSummary(run.folder / run.name)


@dataclass(frozen=True)
class OneFileForAll(Tracker):
    def start(self, run):
        return Lines(run.folder / "all")


DEFECTS = {
    "d-tracker-forgets": (Forgets, "interrupted", "would be repeated"),
    "d-tracker-ends-once": (EndsOnce, "sent_again", "FileExistsError"),
    "d-tracker-one-too-many": (OneTooMany, "sent_again", "is known with 3"),
    "d-tracker-one-file": (OneFileForAll, "kept_apart", "known with [1, 1] rounds"),
}


@hookimpl
def fedbench_register_trackers():
    return {name: entry[0] for name, entry in DEFECTS.items()}
