"""Run folders: their names, and the lock that a process holds on one while it writes."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from fedbench_core.api import RunError
from fedbench_core.federation.spec import RunSpec
from fedbench_core.records.record import RECORD

_LOCK = ".lock"
_OWNER = ".owner"


def folder_of(spec: RunSpec, out: Path, *, fresh: bool) -> Path:
    """The folder of a resolved spec, the same for equal specs; if `fresh`, the next number that is not taken."""
    dataset = Path(spec.dataset).stem if ":" in spec.dataset else spec.dataset
    name = f"{spec.method}-{re.sub(r'[^A-Za-z0-9_]+', '-', dataset)}-s{spec.seed}-{spec.digest[:8]}"
    folder, number = out / name, 1
    while fresh and folder.exists():
        number += 1
        folder = out / f"{name}-{number}"
    return folder


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Create and lock a folder during the block; RunError if another process holds it or it can't be written."""
    created = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / _LOCK)
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError(f"{folder} is in use by process {_owner(folder)}. Wait for it to end, or end it.") from None
    except OSError as error:
        raise RunError(f"The run folder {folder} can't be written: {error.strerror}. Use another --out.") from error
    try:
        for partial in folder.glob(".*.part"):
            partial.unlink()
        (folder / _OWNER).write_text(str(os.getpid()), encoding="utf-8")
        yield
    finally:
        (folder / _OWNER).unlink(missing_ok=True)
        lock.release()
        (folder / _LOCK).unlink(missing_ok=True)
        with suppress(OSError):  # not empty: the run was started
            for path in created:
                path.rmdir()


def is_done(folder: Path) -> bool:
    """Whether a folder holds a finished run."""
    return (folder / RECORD).exists()


def _owner(folder: Path) -> str:
    try:
        return (folder / _OWNER).read_text(encoding="utf-8")
    except OSError:
        return "unknown"
