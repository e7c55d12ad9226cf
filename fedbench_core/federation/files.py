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
    """Where states and messages rest, by their paths; this module is the one on the disk of this machine."""

    def read(self, file: File) -> Blob:
        """What is in a file; RunError if it cannot be had."""
        ...

    def write(self, path: Path, blob: Blob) -> File:
        """Let a file rest; gives it with its digest."""
        ...


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, unless it is there. OSError becomes a RunError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{path} could not be made: {error.strerror}.") from error


def replace_file(path: Path, blob: Blob, *, durable: bool = False) -> None:
    """Write a file whole or not at all; `durable` waits until it is on the disk. OSError becomes a RunError."""
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
    """Write a file whole and remember its digest."""
    replace_file(path, blob)
    return File(path, hashlib.sha256(blob).hexdigest())


def read(file: File) -> bytes:
    """The file's bytes; RunError if it is gone or not what was written."""
    try:
        blob = file.path.read_bytes()
    except OSError as error:
        raise RunError(f"{file.path} could not be read: {error.strerror}.") from error
    if hashlib.sha256(blob).hexdigest() != file.digest:
        raise RunError(f"{file.path} is damaged: its contents are not what was written there.")
    return blob
