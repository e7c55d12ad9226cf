"""Calls in worker processes of this machine."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from fedbench_core.api import DataRequest
from fedbench_core.federation.assembly import resolve
from fedbench_core.federation.blame import MisfitError
from fedbench_core.federation.calls import Call, Done, PredictDone
from fedbench_core.federation.executors.blob_files import BlobWriter, reading
from fedbench_core.federation.executors.pooled import Pooled
from fedbench_core.federation.executors.process_pool import ProcessPool
from fedbench_core.federation.partition import Partition, load, load_public, make_partition
from fedbench_core.federation.resolved import ResolvedRun
from fedbench_core.federation.spec import RunSpec
from fedbench_core.federation.torch_settings import set_up_torch, use_gpu
from fedbench_core.federation.worker import Worker


@dataclass(frozen=True)
class WorkerFactory:
    """What a worker is made of: a resolved spec, and where its data are (they are mapped, so nothing is copied).

    data, shares: the digests of the dataset and of the partition in the process that starts the run, if known.
    """

    spec: RunSpec
    request: DataRequest
    data: str = ""
    shares: str = ""

    def worker(self) -> Worker:
        """A worker in this process, with torch set up for the spec; RunError if its images are not those of the run."""
        set_up_torch(self.spec)
        run = resolve(self.spec)
        splits = load(run, self.request)
        _check_same(run, "dataset", self.data, splits.digest)
        partition = make_partition(run, splits, load_public(run, self.request, splits))
        _check_same(run, "partitioner", self.shares, partition.digest)
        return Worker(run, partition)


def _check_same(run: ResolvedRun, part: str, expected: str, digest: str) -> None:
    with run.blaming(part):
        if expected not in ("", digest):
            raise MisfitError("it gives other images in each process; expected the same for the same arguments.")


def processes(
    run: ResolvedRun,
    request: DataRequest,
    partition: Partition,
    workers: int,
    folder: Path,
    client_timeout: float | None,
) -> Pooled:
    """An executor of `workers` processes. folder: where long blobs rest on their way."""
    factory = WorkerFactory(run.spec, request, partition.splits.digest, partition.digest)
    begin = partial(_begin, factory, folder)
    return Pooled(run, ProcessPool(begin, workers, limit=client_timeout), _unpacked, batches=True)


def _begin(factory: WorkerFactory, folder: Path, _tell: Callable[[Any], None], number: int) -> Callable[[Call], Done]:
    use_gpu(factory.spec, number)
    worker, blobs = factory.worker(), BlobWriter(folder)
    return lambda call: with_blobs(worker.do(call), blobs.write)


@contextmanager
def _unpacked(done: Done) -> Iterator[Done]:
    with ExitStack() as stack:
        yield with_blobs(done, lambda blob: stack.enter_context(reading(blob)))


def with_blobs(done: Done, change: Callable[[Any], Any]) -> Done:
    """The outcome with another form of its blobs."""
    if isinstance(done, PredictDone):
        return done
    return replace(done, encoded={way: replace(one, blob=change(one.blob)) for way, one in done.encoded.items()})
