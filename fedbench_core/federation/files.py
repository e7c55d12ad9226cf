"""Files that are written completely or not at all, with a digest that detects damage."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fedbench_core.api.errors import RunError

Blob = bytes | memoryview


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


def make_folder(path: Path) -> None:
    """Create a folder and its parents if they are missing. OSError becomes a RunError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{path} could not be made: {error.strerror}.") from error


def replace_file(path: Path, blob: Blob, *, durable: bool = False) -> None:
    """Write a file completely or not at all; `durable` syncs it to disk. OSError becomes a RunError."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as stream:
            stream.write(blob)
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise RunError(f"{path} could not be written: {error.strerror}.") from error


def write(path: Path, blob: Blob) -> File:
    """Write a file completely or not at all; returns it with its digest."""
    replace_file(path, blob)
    return File(path, hashlib.sha256(blob).hexdigest())


def read(file: File) -> bytes:
    """The contents of a file; RunError if it is missing or damaged."""
    try:
        blob = file.path.read_bytes()
    except OSError as error:
        raise RunError(f"{file.path} could not be read: {error.strerror}.") from error
    if hashlib.sha256(blob).hexdigest() != file.digest:
        raise RunError(f"{file.path} is damaged: its contents have changed.")
    return blob
