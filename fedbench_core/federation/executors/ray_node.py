"""What a node of a Ray cluster does: one call at a time, from bytes to bytes, in a process that stays for the next."""

import faulthandler
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import ray

from fedbench_core.api import FedbenchError, RunError
from fedbench_core.federation.calls import Call, Done, TurnDone
from fedbench_core.federation.executors.ray_cluster import differences
from fedbench_core.federation.executors.ray_probe import installed
from fedbench_core.federation.executors.slot import portable
from fedbench_core.federation.executors.start import keep_freed_memory
from fedbench_core.federation.files import Blob, File
from fedbench_core.federation.partition import Partition
from fedbench_core.federation.resolved import resolve
from fedbench_core.federation.set_up import set_up_torch
from fedbench_core.federation.spec import RunSpec
from fedbench_core.federation.worker import Worker

Raw = npt.NDArray[np.uint8]
"""Bytes as Ray moves them without a copy."""


@dataclass(frozen=True)
class Begin:
    """What a worker is made of. versions: what its node must have installed; client_timeout: seconds."""

    spec: RunSpec
    shares: Partition
    versions: Mapping[str, str]
    client_timeout: float | None


class Parcel:
    """A storage that a call comes with, and goes with: nothing touches the disk of a node."""

    def __init__(self) -> None:
        self.brought: dict[Path, Raw] = {}
        self.written: dict[Path, Raw] = {}

    def read(self, file: File) -> Blob:
        """The bytes that came with the call."""
        return self.brought[file.path].data

    def write(self, path: Path, blob: bytes) -> File:
        """Keep bytes to go back with the answer."""
        self.written[path] = raw(blob)
        return File(path, hashlib.sha256(blob).hexdigest())


def raw(blob: Blob) -> Raw:
    """The same bytes, as Ray moves them without a copy."""
    return np.frombuffer(blob, np.uint8)


@dataclass(frozen=True)
class Answer:
    """A call's outcome with its long blobs as arrays, and what is to rest, by its path; or what went wrong."""

    done: Done | Exception
    sent: Raw | None = None
    left: Raw | None = None
    rests: Mapping[Path, Raw] = field(default_factory=dict)


_made: dict[str, tuple[Worker, Parcel, Begin] | Exception] = {}
"""The worker of the last run that this process worked for."""


def answer(run: str, begin: list[Any], call: Call, state: Raw | None, received: Raw | None) -> Answer:
    """Do a call of a run. begin: a reference to its Begin, in a list, so that it is only fetched for the first."""
    made = _worker(run, begin)
    if isinstance(made, Exception):
        return Answer(portable(made))
    worker, parcel, begun = made
    parcel.brought = _brought(call, state, received)
    parcel.written = {}
    try:
        with _ending_after(begun.client_timeout):
            return _packed(worker.do(call), parcel)
    except (FedbenchError, OSError) as error:
        return Answer(portable(error))
    finally:
        parcel.brought = {}


def _brought(call: Call, state: Raw | None, received: Raw | None) -> dict[Path, Raw]:
    files = (call.state, None if call.received is None else call.received.file)
    return {file.path: blob for file, blob in zip(files, (state, received), strict=True) if file and blob is not None}


def _packed(done: Done, parcel: Parcel) -> Answer:
    if not isinstance(done, TurnDone):
        return Answer(done)
    sent, left = (None if blob is None else raw(blob) for blob in (done.sent, done.left))
    return Answer(replace(done, sent=None, left=None), sent, left, parcel.written)


def _worker(run: str, begin: list[Any]) -> tuple[Worker, Parcel, Begin] | Exception:
    if run not in _made:
        _made.clear()
        try:
            _made[run] = _make(ray.get(begin[0]))
        except (FedbenchError, OSError) as error:
            _made[run] = error
    return _made[run]


def _make(begin: Begin) -> tuple[Worker, Parcel, Begin]:
    """A worker, with torch set up as the spec says."""
    check_late(begin.versions)
    keep_freed_memory()
    set_up_torch(begin.spec)
    parcel = Parcel()
    return Worker(resolve(begin.spec), begin.shares, parcel), parcel, begin


def check_late(versions: Mapping[str, str]) -> None:
    """RunError on a node that joined after all were asked, and has other versions."""
    words = differences(versions, installed(list(versions)))
    if words:
        raise RunError(f"A node that joined the Ray cluster has {words}. Install the same there, or take it out.")


@contextmanager
def _ending_after(seconds: float | None) -> Iterator[None]:
    """Ends this process, whatever it is doing, if the block takes longer."""
    if seconds is not None:
        faulthandler.dump_traceback_later(seconds, exit=True, file=2)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
