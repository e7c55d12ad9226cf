"""Long blobs from a worker to its parent: through files that are used again once they were read.

A pipe would copy a blob four times, and a new file for each takes ten times as long as to overwrite one.
"""

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fedbench_core.federation import files
from fedbench_core.federation.files import Blob
from fedbench_core.federation.store import SUFFIX

_INLINE_BYTES = 2**16
"""Shorter blobs are sent as they are."""
_REUSE = os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
"""Not truncated, because new pages take time; a link could lead out of the run folder."""


@dataclass(frozen=True)
class BlobFile:
    """A blob that is the first `size` bytes of a file."""

    path: Path
    size: int

    @property
    def unused(self) -> Path:
        """The name of the file from when it was read until it is written again."""
        return self.path.with_name(f"unused-{self.path.name}")


class BlobWriter:
    """Writes the blobs of this process into files in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def write(self, blob: Blob) -> Blob | BlobFile:
        """What to send in place of a blob: itself, or its file. OSError becomes a RunError."""
        if len(blob) <= _INLINE_BYTES:
            return blob
        made = [self._file(number, len(blob)) for number in range(self._count)]
        file = next((file for file in made if file.unused.exists()), None)
        if file is None:
            file = self._file(self._count, len(blob))
            self._count += 1
        with files.writing(file.path):
            with os.fdopen(os.open(file.unused, _REUSE, 0o666), "wb") as stream:
                stream.write(blob)
            file.unused.rename(file.path)
        return file

    def _file(self, number: int, size: int) -> BlobFile:
        return BlobFile(self._folder / f"message-{os.getpid()}-{number}{SUFFIX}", size)


@contextmanager
def reading(sent: Blob | BlobFile) -> Iterator[Blob]:
    """The blob of what `write` returned, as long as the context lasts. OSError becomes a RunError."""
    if not isinstance(sent, BlobFile):
        yield sent
        return
    with files.reading(sent.path), sent.path.open("rb") as stream:
        mapped = mmap.mmap(stream.fileno(), sent.size, access=mmap.ACCESS_READ)
    view = memoryview(mapped)
    try:
        yield view
    finally:
        _finish(sent, view, mapped)


def _finish(file: BlobFile, view: memoryview, mapped: mmap.mmap) -> None:
    """Let the file be used again, unless something still reads it."""
    try:
        view.release()
        mapped.close()
    except BufferError:
        file.path.unlink()
    else:
        file.path.rename(file.unused)
