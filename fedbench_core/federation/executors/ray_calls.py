"""Calls on a Ray cluster: bytes go out and come back through its object store, and only the driver writes files."""

import faulthandler
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import ray

from fedbench_core.federation.assembly import resolve
from fedbench_core.federation.calls import Call, Done
from fedbench_core.federation.executors.pooled import Pooled
from fedbench_core.federation.executors.process_pool import keep_freed_memory, portable
from fedbench_core.federation.executors.processes import with_blobs
from fedbench_core.federation.executors.ray_cluster import (
    Ref,
    Request,
    check_own_versions,
    connected,
    portable_splits,
    put,
)
from fedbench_core.federation.executors.ray_pool import RayPool
from fedbench_core.federation.files import Blob, File, read, replace_file
from fedbench_core.federation.partition import Partition
from fedbench_core.federation.resolved import ResolvedRun
from fedbench_core.federation.spec import RunSpec
from fedbench_core.federation.torch_settings import set_up_torch
from fedbench_core.federation.worker import Worker

Array = npt.NDArray[np.uint8]
"""Bytes as Ray moves them without a copy."""
Written = Mapping[Path, Array]


@dataclass(frozen=True)
class WorkerSource:
    """What a worker is made of. versions: what its node must have installed; client_timeout: seconds per call."""

    spec: RunSpec
    partition: Partition
    versions: Mapping[str, str]
    client_timeout: float | None


def on_ray(run: ResolvedRun, source: WorkerSource, request: Request) -> Pooled:
    """An executor on a cluster."""
    seconds = source.client_timeout
    late = "" if seconds is None else f" or took longer than --client-timeout {seconds:g} s"
    with ExitStack() as stack:
        cluster = stack.enter_context(connected(request, source.versions))
        pool = RayPool(cluster, _compute, _Packer(source).pack, _unpacked, stack.pop_all(), late)
    return Pooled(run, pool, nullcontext, batches=False)


class _Packer:
    """Makes the arguments of a task: the run, what a worker is made of, the call, and the files that it reads."""

    def __init__(self, source: WorkerSource) -> None:
        self._run = uuid4().hex
        self._source = [put(replace(source, partition=_portable(source.partition)))]
        self._put: dict[str, Ref] = {}

    def pack(self, call: Call) -> list[Any]:
        """The arguments; files that the call before this one reads, too, are in the object store already."""
        self._put = {file.digest: self._put.get(file.digest) or put(_array(read(file))) for file in call.files}
        return [self._run, self._source, call, *(self._put[file.digest] for file in call.files)]


def _portable(partition: Partition) -> Partition:
    """The partition with images as plain arrays; public images that are the run's own stay those."""
    splits, public = portable_splits(partition.splits), partition.public
    if public is not None:
        own = public.images is partition.splits.train.images
        public = replace(public, images=splits.train.images if own else np.asarray(public.images))
    return replace(partition, splits=splits, public=public)


def _array(blob: Blob) -> Array:
    return np.frombuffer(blob, np.uint8)


def _unpacked(_call: Call, result: tuple[Done, Written] | Exception) -> Done:
    """The outcome of a call; the state that came with it is written. Raises the error of the worker."""
    if isinstance(result, Exception):
        raise result
    done, written = result
    for path, array in written.items():
        replace_file(path, array.data)
    return with_blobs(done, lambda array: array.data)


class _MemoryStorage:
    """A storage for one call, which nothing on the node's disk is needed for."""

    def __init__(self) -> None:
        self.brought: dict[str, Array] = {}
        self.written: dict[Path, Array] = {}

    def read(self, file: File) -> Blob:
        """The bytes that came with the call."""
        return self.brought[file.digest].data

    def write(self, path: Path, blob: Blob) -> File:
        """Keep bytes for the driver."""
        self.written[path] = _array(blob)
        return File(path, hashlib.sha256(blob).hexdigest())


@dataclass(frozen=True)
class _NodeWorker:
    worker: Worker
    storage: _MemoryStorage
    client_timeout: float | None


_workers: dict[str, _NodeWorker] = {}
"""The worker of the last run that this process computed for."""


def _compute(run: str, source: list[Any], call: Call, *arrays: Array) -> tuple[Done, Written] | Exception:
    """Compute a call of a run. source: a reference in a list, so that Ray fetches it only when it is asked to."""
    try:
        if run not in _workers:
            _workers.clear()
            _workers[run] = _make(ray.get(source[0]))
        node = _workers[run]
        node.storage.brought = dict(zip((file.digest for file in call.files), arrays, strict=True))
        node.storage.written = {}
        with _exit_after(node.client_timeout):
            return with_blobs(node.worker.do(call), _array), node.storage.written
    except ray.exceptions.RayError:
        raise
    except Exception as error:  # noqa: BLE001
        return portable(error)
    finally:
        if run in _workers:
            _workers[run].storage.brought = {}


def _make(source: WorkerSource) -> _NodeWorker:
    check_own_versions(source.versions)
    keep_freed_memory()
    set_up_torch(source.spec)
    storage = _MemoryStorage()
    return _NodeWorker(Worker(resolve(source.spec), source.partition, storage), storage, source.client_timeout)


@contextmanager
def _exit_after(seconds: float | None) -> Iterator[None]:
    """End this process, whatever it is doing, if the block takes longer."""
    if seconds is not None:
        faulthandler.dump_traceback_later(seconds, exit=True, file=2)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
