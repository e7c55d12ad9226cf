"""Cache of unpacked arrays: a folder of memory-mapped .npy files for each source, named by the digest of the source."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from fedbench_core.api.errors import DataError
from fedbench_core.api.limits import parse_json

Arrays = Mapping[str, npt.NDArray[Any]]
Fill = Callable[[], Iterable[tuple[str, Iterable[bytes]]]]

MANIFEST = "manifest.json"
SMALL_BYTES = 64 * 2**20


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """A file to write that is renamed to `path` at the end; after an error nothing is left behind.

    durable: the file is on disk before it is renamed. The folder must exist. A link at `path` is replaced, its target
    is not.
    """
    part = path.with_name(f".{path.name}.fedbench-{token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def mapped(folder: Path, fill: Fill) -> Arrays:
    """The arrays of `folder`, mapped read-only. If any are missing or damaged, `fill` yields all as (name, .npy bytes).

    DataError if the folder can't be written; ValueError for an array of Python objects, which is never unpickled.
    """
    digests = _undamaged(folder)
    if digests is None:
        digests = _store(folder, fill)
    return {name: np.load(_file(folder, name), mmap_mode="r", allow_pickle=False) for name in digests}


def contents(folder: Path) -> str:
    """The MD5 of the names and contents of all arrays that `mapped` keeps in `folder`."""
    return _hash(folder / MANIFEST)


def md5(path: Path, cache: Path) -> str:
    """The MD5 of a file, in hex. That of a large file is cached until its size or modification time changes."""
    status = path.stat()
    if status.st_size <= SMALL_BYTES:
        return _hash(path)
    key = json.dumps([str(path.resolve()), status.st_size, status.st_mtime_ns])
    entry = cache / "md5" / hashlib.sha256(key.encode()).hexdigest()
    with suppress(OSError, ValueError):
        found, again = entry.read_text().split(" ")
        if found == again:  # written twice, so that damage is noticed
            return found
    found = _hash(path)
    with _writing(entry.parent), replacing(entry) as file:
        file.write(f"{found} {found}".encode())
    return found


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.npy"


def _undamaged(folder: Path) -> dict[str, str] | None:
    """The MD5 of each array by name; None if a file is missing, or its contents are not those that were written."""
    try:
        digests: dict[str, str] = parse_json((folder / MANIFEST).read_text())
        intact = all(md5(_file(folder, name), folder) == digest for name, digest in digests.items())
    except (OSError, ValueError, AttributeError, RecursionError):
        return None
    return digests if digests and intact else None


def _store(folder: Path, fill: Fill) -> dict[str, str]:
    # No lock: equal digests mean equal bytes, so two processes replace each other's files by equal ones, and a process
    # that mapped the earlier file keeps it.
    digests = {}
    with _writing(folder):
        for name, chunks in fill():
            hasher = hashlib.md5(usedforsecurity=False)
            with replacing(_file(folder, name)) as file:
                for chunk in chunks:
                    hasher.update(chunk)
                    file.write(chunk)
            digests[name] = hasher.hexdigest()
        with replacing(folder / MANIFEST) as file:
            file.write(json.dumps(digests).encode())
    return digests


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    if folder.is_symlink():
        raise DataError(f"The cache {folder} is a link. Remove the link: fedbench writes into folders of its own.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise DataError(
            f"The cache {folder} cannot be written ({error}). Use another folder: FEDBENCH_CACHE=FOLDER fedbench ..."
        ) from error
