"""Files that are written completely or not at all, with a digest that detects damage."""

import hashlib
import os
import re
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fedbench_core.api.errors import RunError
from fedbench_core.data.cache import replacing

Blob = bytes | memoryview
PART = re.compile(r"\..+\.fedbench-[0-9a-f]{8}\.part")
"""The name of an incomplete file."""


@dataclass(frozen=True)
class File:
    """A stored file and the sha256 of its contents."""

    path: Path
    digest: str


class Storage(Protocol):
    """Reads and writes stored states and payloads; this module does so on the local disk."""

    def read(self, file: File) -> Blob:
        """The contents of a file; RunError if it can't be read or is damaged."""
        ...

    def write(self, path: Path, blob: Blob) -> File:
        """Write a file; returns it with its digest."""
        ...


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """An OSError in the block becomes a RunError that names `path` and the reason."""
    try:
        yield
    except OSError as error:
        why = f"{path} could not be written: {error.strerror or error}."
        raise RunError(f"{why} Repeat the command once it can be.") from error


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """An OSError in the block becomes a RunError that names `path` and the reason."""
    try:
        yield
    except OSError as error:
        raise RunError(f"{path} could not be read: {error.strerror}.") from error


@contextmanager
def files_named() -> Iterator[None]:
    """An OSError in the block that is about a file becomes a RunError that names it, with the reason."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            raise
        why = f"{error.filename} could not be read or written: {error.strerror}."
        raise RunError(f"{why} Repeat the command once it can be.") from error


def make_folder(path: Path) -> None:
    """Create a folder and its parents if they are missing. OSError becomes a RunError."""
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)


def replace_file(path: Path, blob: Blob, *, durable: bool = False) -> None:
    """Write a file completely or not at all; `durable` syncs it to disk. OSError becomes a RunError."""
    with writing(path), replacing(path, durable=durable) as stream:
        stream.write(blob)


def write(path: Path, blob: Blob) -> File:
    """Write a file completely or not at all; returns it with its digest."""
    replace_file(path, blob)
    return File(path, hashlib.sha256(blob).hexdigest())


def read(file: File) -> bytes:
    """The contents of a file; RunError if it is missing or damaged."""
    with reading(file.path):
        blob = file.path.read_bytes()
        _check(file, hashlib.sha256(blob).hexdigest())
    return blob


def damage_of(files: Collection[File]) -> dict[File, RunError]:
    """The errors of those files that are missing or damaged. Each is read once, on all cores."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        errors = pool.map(_damage, files)
        return {file: error for file, error in zip(files, errors, strict=True) if error is not None}


def _damage(file: File) -> RunError | None:
    try:
        with reading(file.path), file.path.open("rb") as stream:
            _check(file, hashlib.file_digest(stream, "sha256").hexdigest())
    except RunError as error:
        return error
    return None


def _check(file: File, digest: str) -> None:
    if digest != file.digest:
        raise RunError(f"{file.path} is damaged: its contents have changed.")
