"""Stored state: a file per node and kind, and a journal of which version of each is committed."""

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from fedbench_core.api import RequestError, RunError
from fedbench_core.api.limits import parse_json
from fedbench_core.federation.files import PART, Blob, File, damage_of, make_folder, replace_file, write, writing

JOURNAL = "journal.json"
PREVIOUS = "journal.previous.json"
DURABLE_SECONDS = 30.0
"""Seconds between commits that are synced to disk, which takes 7 ms per file; surviving a kill needs no sync."""
SUFFIX = ".fedbench.safetensors"
_OWN = re.compile(rf"[A-Za-z0-9_-]+(\.\d+\.\d+)?{re.escape(SUFFIX)}|{PART.pattern}")
"""The names of files that are ours to remove, whether or not a journal names them."""
INCOMPLETE_MODELS = ".models.fedbench"
"""The folder of models that are not complete yet."""
_MALFORMED = (ValueError, KeyError, TypeError, AttributeError, RecursionError)

Key = tuple[str, str, str]
"""A kind of file, a node or client, and a channel."""
Commit = tuple[dict[str, Any], dict[Key, File]]


class Store:
    """Files by key. Two commits are kept, so that the run can be resumed if the last one is damaged."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[Key, File] = {}
        self._kept: list[set[Path]] = [set(), set()]
        self._unsynced: set[Path] = set()
        self._synced = time.monotonic()
        if folder.is_symlink():
            raise RunError(f"{folder} is a link, to where files of others may be. Remove it, or use another --out.")
        make_folder(folder)

    def path(self, key: Key, round_: int, phase: int) -> Path:
        """Where the next version of `key` is to be written."""
        return self._folder / f"{_slug(key)}.{round_}.{phase}{SUFFIX}"

    def get(self, key: Key) -> File | None:
        """The newest version, if there is one."""
        return self._files.get(key)

    def files(self) -> list[tuple[Key, File]]:
        """The newest versions of everything, by key."""
        return list(self._files.items())

    def put(self, key: Key, blob: Blob, round_: int, phase: int) -> File:
        """Write the next version."""
        file = write(self.path(key, round_, phase), blob)
        self.keep(key, file)
        return file

    def drop(self, kind: str) -> None:
        """Remove everything of one kind."""
        dropped = [self._files.pop(key).path for key in list(self._files) if key[0] == kind]
        self._remove(dropped)

    def keep(self, key: Key, file: File) -> None:
        """Take over the next version, which a worker wrote; the one before is removed, unless it is committed."""
        before = self._files.get(key)
        self._files[key] = file
        self._unsynced.add(file.path)
        if before is not None and before.path != file.path:
            self._remove([before.path])

    @property
    def begun(self) -> bool:
        """Whether there is a commit to resume from."""
        return was_begun(self._folder)

    def commit(self, progress: Mapping[str, Any]) -> None:
        """Make the present versions the ones to resume from, by a rename; then remove files that no commit needs."""
        durable = time.monotonic() - self._synced >= DURABLE_SECONDS
        if durable:
            self._sync()
        files = [[*key, file.path.name, file.digest] for key, file in sorted(self._files.items())]
        journal = self._folder / JOURNAL
        if journal.exists():
            with writing(journal):
                journal.replace(self._folder / PREVIOUS)
        replace_file(journal, _sealed({**progress, "files": files}), durable=durable)
        before = self._kept[0]
        self._kept = [self._kept[1], {file.path for file in self._files.values()}]
        self._remove(before)

    def resume(self) -> dict[str, Any] | None:
        """The content of the newest undamaged commit, None if there is no commit.

        Files that belong to no commit are removed. RunError if all commits are damaged.
        """
        commits: dict[str, Commit] = {}
        damage = []
        for name in (JOURNAL, PREVIOUS):
            try:
                commits[name] = self._read(name)
            except FileNotFoundError:
                continue
            except PermissionError:
                raise  # it isn't damaged
            except (RunError, OSError) as error:
                damage.append(f"{name}: {error}")
        damaged = damage_of({file for _, files in commits.values() for file in files.values()})
        for name, (_, files) in list(commits.items()):
            found = next((damaged[file] for file in files.values() if file in damaged), None)
            if found is not None:
                damage.append(f"{name}: {found}")
                del commits[name]
        if damage and not commits:
            raise RunError(f"This run can't be resumed: {'; '.join(damage)}. Start it over with --fresh.")
        if not commits:
            self._sweep()
            return None
        progress, self._files = next(iter(commits.values()))
        if JOURNAL not in commits:
            with writing(self._folder / JOURNAL):
                (self._folder / PREVIOUS).replace(self._folder / JOURNAL)
        self._kept = [{file.path for file in files.values()} for _, files in reversed(commits.values())]
        self._kept = [set(), *self._kept][-2:]
        self._sweep()
        return progress

    def clear(self) -> None:
        """Remove everything, once the run is recorded. What can't be removed stays."""
        self._files, self._kept = {}, [set(), set()]
        with suppress(OSError, RunError):
            for name in (JOURNAL, PREVIOUS):
                if _is_journal(self._folder / name):
                    (self._folder / name).unlink(missing_ok=True)
            self._sweep()
            shutil.rmtree(self._folder / INCOMPLETE_MODELS, ignore_errors=True)
            self._folder.rmdir()  # unless it holds files of others

    def _read(self, name: str) -> "Commit":
        """One commit; RunError if its journal is damaged."""
        journal = _unsealed((self._folder / name).read_bytes())
        try:
            files = {(a, b, c): File(self._folder / where, digest) for a, b, c, where, digest in journal.pop("files")}
            own = all(_OWN.fullmatch(file.path.name) and file.path.parent == self._folder for file in files.values())
            own = own and all(isinstance(word, str) for key in files for word in key)
        except _MALFORMED:
            own = False
        if not own:
            raise RunError("it is damaged")
        return journal, files

    def _sweep(self) -> None:
        """Remove versions that belong to no commit, and files that a crash left incomplete."""
        known = self._kept[0] | self._kept[1] | {self._folder / JOURNAL, self._folder / PREVIOUS}
        for path in set(self._folder.iterdir()) - known:
            if _OWN.fullmatch(path.name):
                with writing(path):
                    path.unlink(missing_ok=True)

    def _remove(self, paths: Iterable[Path]) -> None:
        """Remove files that neither a commit nor the present versions need."""
        needed = self._kept[0] | self._kept[1]
        present = {file.path for file in self._files.values()}
        for path in paths:
            if path not in needed and path not in present:
                with writing(path):
                    path.unlink(missing_ok=True)
                self._unsynced.discard(path)

    def _sync(self) -> None:
        for path in self._unsynced:
            if path.exists():
                with writing(path), path.open("rb") as stream:
                    os.fsync(stream.fileno())
        self._unsynced.clear()
        self._synced = time.monotonic()


def was_begun(folder: Path) -> bool:
    """Whether a state folder has a commit to resume from; during a commit, only the previous one exists."""
    return any((folder / name).exists() for name in (JOURNAL, PREVIOUS))


def read_journal(folder: Path) -> dict[str, Any]:
    """The newest readable journal in a state folder; RequestError if there is none, RunError if all are damaged.

    OSError if it is there and can't be read.
    """
    damage = []
    for name in (JOURNAL, PREVIOUS):
        try:
            return _unsealed((folder / name).read_bytes())
        except RunError as error:
            damage.append(f"{name}: {error}")
        except (FileNotFoundError, NotADirectoryError):
            continue
    if damage:
        raise RunError(
            f"This run can't be resumed: {'; '.join(damage)}. Start it over with `fedbench run ... --fresh`."
        )
    raise RequestError(f"No run was started in {folder.parent}. Give the folder that `fedbench run` printed.")


def clear(folder: Path) -> None:
    """Remove the state that a kill behind the record left in a folder, if there is any."""
    if folder.is_dir() and not folder.is_symlink():
        Store(folder).clear()


def _is_journal(path: Path) -> bool:
    try:
        _unsealed(path.read_bytes())
    except (OSError, RunError):
        return False
    return True


def _slug(key: Key) -> str:
    """A file name for a key; readable, and different for different keys."""
    text = "-".join(word for word in key if word)
    safe = re.sub(r"[^A-Za-z0-9_-]", "_", text)[:80]
    return safe if safe == text else f"{safe}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _sealed(content: Mapping[str, Any]) -> bytes:
    text = json.dumps(content, sort_keys=True)
    return json.dumps({"digest": hashlib.sha256(text.encode()).hexdigest(), "content": text}).encode()


def _unsealed(blob: bytes) -> dict[str, Any]:
    try:
        outer = parse_json(blob)
        content, digest = outer["content"], outer["digest"]
        whole = hashlib.sha256(content.encode()).hexdigest() == digest
        journal: dict[str, Any] = parse_json(content)
    except _MALFORMED:
        whole = False
    if not whole or not isinstance(journal, dict):
        raise RunError("it is damaged")
    return journal
