"""Run folders: their names, and the lock that a process holds on one while it writes."""

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fedbench_core.api import RunError
from fedbench_core.federation.files import PART, writing
from fedbench_core.federation.spec import RunSpec
from fedbench_core.federation.store import INCOMPLETE_MODELS, was_begun
from fedbench_core.records.record import RECORD, TABLES

_ATTEMPTS = 1000
_MOMENT_SECONDS = 0.05


class InUseError(RunError):
    """Another process computes the run."""


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
def claimed(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Create and lock a folder during the block; remove it afterwards if it is empty, with new parents.

    wait: until no other process holds it; else InUseError. RunError if it can't be written, or holds what no run wrote.
    The lock is one of the kernel (flock) on the folder itself: it leaves nothing behind, and ends with the process.
    Processes on one machine exclude each other; those on several machines that share a folder may not.
    """
    created = [folder, *(path for path in folder.parents if not path.exists())]
    descriptor, owner = _locked(folder, wait=wait), os.getpid()
    try:
        _check_own(folder)
        yield
    finally:
        if os.getpid() == owner:  # not a fork that leaves the block
            with suppress(OSError):  # not empty: the run was started
                for path in created:
                    path.rmdir()
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # a fork that goes on may have the descriptor, too
        os.close(descriptor)


def is_done(folder: Path) -> bool:
    """Whether a folder holds a finished run."""
    return (folder / RECORD).exists()


def in_use(folder: Path) -> bool:
    """Whether a process computes the run in a folder; False if there is none. Nothing is created."""
    try:
        descriptor = _opened(folder)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # others may ask at the same time
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _locked(folder: Path, *, wait: bool) -> int:
    """A descriptor of the folder that holds its lock. A folder that was removed before it was locked is made again."""
    why = None
    for _ in range(_ATTEMPTS):
        try:
            if (descriptor := _try_to_lock(folder, wait=wait)) is not None:
                return descriptor
        except (FileNotFoundError, FileExistsError) as error:
            why = error.strerror
        except OSError as error:
            why = error.strerror
            break
    raise RunError(f"The run folder {folder} can't be written: {why or 'it is removed at once'}. Use another --out.")


def _try_to_lock(folder: Path, *, wait: bool) -> int | None:
    _check_no_link(folder)
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = _opened(folder)
    try:
        _lock(descriptor, wait=wait)
        if os.path.samestat(os.fstat(descriptor), folder.stat()):
            return descriptor
    except BlockingIOError:
        os.close(descriptor)
        raise InUseError(f"{folder} is in use by another process. Wait for it to end, or end it.") from None
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _opened(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)


def _lock(descriptor: int, *, wait: bool) -> None:
    """Lock a folder. BlockingIOError if another process holds it for longer than `in_use` does."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        time.sleep(_MOMENT_SECONDS)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _check_own(folder: Path) -> None:
    """RunError for links and tables that no run wrote; incomplete files that a kill left are removed."""
    for name in ("state", f"state/{INCOMPLETE_MODELS}", "models", RECORD, *TABLES):
        _check_no_link(folder / name)
    if not (is_done(folder) or was_begun(folder / "state")):
        for path in (folder / name for name in TABLES):
            if path.exists() and path.stat().st_size:
                raise RunError(f"{path} is of no run that was started here. Move it, or use another --out.")
    for path in [path for path in folder.iterdir() if PART.fullmatch(path.name)]:
        with writing(path):
            path.unlink(missing_ok=True)


def _check_no_link(path: Path) -> None:
    if path.is_symlink():
        raise RunError(f"{path} is a link to {path.readlink()}. Remove the link, or use another --out.")
