"""The runs in a folder of run folders: which are finished, which were interrupted; and the removal of the latter."""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fedbench_core.api import FedbenchError, RequestError, RunError
from fedbench_core.federation.files import writing
from fedbench_core.federation.store import clear, read_journal, was_begun
from fedbench_core.records.folder import claimed, in_use, is_done
from fedbench_core.records.record import RECORD, TABLES, read_record
from fedbench_core.records.scored import scored

State = Literal["finished", "interrupted", "running", "damaged"]


@dataclass(frozen=True)
class RunRow:
    """A run folder. rounds: those that are done; score: the personalization on test images, of a finished run."""

    folder: Path
    state: State
    size: int
    method: str = ""
    dataset: str = ""
    seed: int | None = None
    rounds: int | None = None
    score: float | None = None


def runs(out: Path) -> Iterator[RunRow]:
    """The runs in the folder `out`, by name; RequestError if there is no such folder."""
    if not out.is_dir():
        raise RequestError(f"There is no folder {out}. Give the --out of your runs.")
    for folder in sorted(path for path in out.iterdir() if path.is_dir() and not path.is_symlink()):
        try:
            if _is_run(folder):
                yield _row(folder)
        except OSError:  # nothing in it can be read
            yield RunRow(folder, "damaged", 0)


def finished_runs(sources: Sequence[str]) -> list[Path]:
    """The run folders and record files that `sources` name; a folder of either stands for those in it; sorted.

    Empty if one of them is neither.
    """
    found: list[Path] = []
    for path in map(Path, sources):
        inside = sorted(record.parent for record in path.glob(f"*/{RECORD}")) or sorted(path.glob("*.json"))
        own = [path] if path.suffix == ".json" or is_done(path) else inside
        if not own:
            return []
        found += own
    return sorted(set(found))


def run_folders(sources: Sequence[str]) -> list[Path]:
    """The folders of runs that `sources` name, finished or not; a folder of such folders stands for those in it.

    RequestError for a source that is neither.
    """
    found: list[Path] = []
    for path in map(Path, sources):
        own = [folder for folder in (path, *sorted(path.glob("*"))) if _is_run(folder)]
        if not own:
            raise RequestError(f"No run was started in {path}. Name the folder of a run, or a folder of such folders.")
        found += own
    return list(dict.fromkeys(found))


def _is_run(folder: Path) -> bool:
    return is_done(folder) or was_begun(folder / "state")


def remove(folder: Path) -> None:
    """Remove what an interrupted run has written, and its folder if nothing else is in it.

    RequestError for a finished run, InUseError if a process computes it, RunError if the state can't be removed.
    """
    with claimed(folder):
        if is_done(folder):
            raise RequestError(f"{folder} holds a finished run, which is not removed.")
        clear(folder / "state")
        if was_begun(folder / "state"):
            raise RunError(f"{folder / 'state'} could not be removed. Allow writing there, or remove it yourself.")
        for path in (folder / name for name in TABLES):
            with writing(path):
                path.unlink(missing_ok=True)


def _row(folder: Path) -> RunRow:
    size = _size(folder)
    try:
        if is_done(folder):
            record = read_record(folder)
            score = scored(record).metrics["personalization"]
            return RunRow(folder, "finished", size, *_spec(record["spec"]), record["spec"]["rounds"], score)
        journal = read_journal(folder / "state")
        state: State = "running" if in_use(folder) else "interrupted"
        return RunRow(folder, state, size, *_spec(journal["spec"]), journal["progress"]["round"])
    except (FedbenchError, KeyError, TypeError):
        return RunRow(folder, "damaged", size)


def _size(folder: Path) -> int:
    """The bytes of all files in a folder; a run that is computed now removes some while they are counted."""
    size = 0
    for path in (Path(root, name) for root, _, names in os.walk(folder) for name in names):
        with suppress(FileNotFoundError):
            found = path.lstat()
            size += found.st_size * stat.S_ISREG(found.st_mode)
    return size


def _spec(spec: dict[str, Any]) -> tuple[str, str, int]:
    return spec["method"], spec["dataset"], spec["seed"]
