"""State at rest: one file per party, and a journal that says which generation of each is the committed one."""

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fedbench_core.api import RequestError, RunError
from fedbench_core.federation.calls import File
from fedbench_core.federation.files import read, replace_file, write

JOURNAL = "journal.json"
PREVIOUS = "journal.previous.json"
DURABLE_SECONDS = 30.0
"""A commit waits for the disk (7 ms a file and more) if the last to do so is so long ago; a kill needs no waiting."""


class Store:
    """Files by key (`client-3`, `hub`, ...). Two commits are kept, so that a damaged one leaves the one before."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, File] = {}
        self._kept: list[set[Path]] = [set(), set()]
        self._unsynced: set[Path] = set()
        self._synced = time.monotonic()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{folder} could not be made: {error.strerror}. Give another --out.") from error

    def path(self, key: str, round_: int, step: int) -> Path:
        """Where the next generation of `key` is to be written."""
        return self._folder / f"{key}.{round_}.{step}.safetensors"

    def get(self, key: str) -> File | None:
        """The newest generation, if there is one."""
        return self._files.get(key)

    def put(self, key: str, blob: bytes, round_: int, step: int) -> None:
        """Write the next generation."""
        self.keep(key, write(self.path(key, round_, step), blob))

    def keep(self, key: str, file: File) -> None:
        """Take over a generation that somebody else wrote; the one before goes, unless it is a committed one."""
        before = self._files.get(key)
        self._files[key] = file
        self._unsynced.add(file.path)
        if before is not None and before.path != file.path:
            self._remove([before.path])

    def commit(self, progress: Mapping[str, Any]) -> None:
        """Make the present generation the one to resume from: a rename; then what no commit needs is removed."""
        durable = time.monotonic() - self._synced >= DURABLE_SECONDS
        if durable:
            self._sync()
        files = {key: [file.path.name, file.digest] for key, file in sorted(self._files.items())}
        journal = self._folder / JOURNAL
        if journal.exists():
            journal.replace(self._folder / PREVIOUS)
        replace_file(journal, _sealed({**progress, "files": files}), durable=durable)
        before = self._kept[0]
        self._kept = [self._kept[1], {file.path for file in self._files.values()}]
        self._remove(before)

    def resume(self) -> dict[str, Any] | None:
        """The progress of the newest whole commit, None if there never was one.

        Whatever belongs to no commit is removed. RunError if there are commits and none is whole.
        """
        damage: list[str] = []
        for name in (JOURNAL, PREVIOUS):
            if (self._folder / name).exists():
                journal = self._open(name, damage)
                if journal is not None:
                    return journal
        if damage:
            raise RunError(f"This run can't be resumed: {'; '.join(damage)}. Start it over with --fresh.")
        self._sweep()
        return None

    def clear(self) -> None:
        """Remove everything: the run is recorded."""
        for path in self._folder.iterdir():
            path.unlink()
        self._folder.rmdir()

    def _open(self, name: str, damage: list[str]) -> dict[str, Any] | None:
        """One commit, if all of it is whole; otherwise what is wrong is added to `damage`."""
        try:
            journal = _unsealed((self._folder / name).read_bytes())
            files = {key: File(self._folder / where, digest) for key, (where, digest) in journal.pop("files").items()}
            for file in files.values():
                read(file)
        except (RunError, OSError, ValueError, KeyError, TypeError) as error:
            damage.append(f"{name}: {error}")
            return None
        self._files = files
        self._kept = [set(), {file.path for file in files.values()}]
        (self._folder / name).replace(self._folder / JOURNAL)
        (self._folder / PREVIOUS).unlink(missing_ok=True)
        self._sweep()
        return journal

    def _sweep(self) -> None:
        """Remove generations that no commit speaks of, and files that a crash left half written."""
        known = {file.path for file in self._files.values()} | {self._folder / JOURNAL}
        for path in set(self._folder.iterdir()) - known:
            path.unlink()

    def _remove(self, paths: Iterable[Path]) -> None:
        """Remove files that neither a commit nor the present generation needs."""
        needed = self._kept[0] | self._kept[1]
        present = {file.path for file in self._files.values()}
        for path in paths:
            if path not in needed and path not in present:
                path.unlink(missing_ok=True)
                self._unsynced.discard(path)

    def _sync(self) -> None:
        for path in self._unsynced:
            if path.exists():
                with path.open("rb") as stream:
                    os.fsync(stream.fileno())
        self._unsynced.clear()
        self._synced = time.monotonic()


def read_journal(folder: Path) -> dict[str, Any]:
    """The newest readable journal in a state folder; RequestError if there is none."""
    for name in (JOURNAL, PREVIOUS):
        try:
            return _unsealed((folder / name).read_bytes())
        except (OSError, ValueError, KeyError, TypeError):
            continue
    raise RequestError(f"No run was begun in {folder.parent}. Give the folder that `fedbench run` named.")


def _sealed(content: Mapping[str, Any]) -> bytes:
    text = json.dumps(content, sort_keys=True)
    return json.dumps({"digest": hashlib.sha256(text.encode()).hexdigest(), "content": text}).encode()


def _unsealed(blob: bytes) -> dict[str, Any]:
    outer = json.loads(blob)
    if hashlib.sha256(outer["content"].encode()).hexdigest() != outer["digest"]:
        raise ValueError("its contents are not what was written there")
    content: dict[str, Any] = json.loads(outer["content"])
    return content
