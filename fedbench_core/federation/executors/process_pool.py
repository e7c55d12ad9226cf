"""Worker processes with a pipe each: one that dies or exceeds its time is replaced, and the others don't notice."""

import ctypes
import math
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import connection, parent_process
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from traceback import format_exception
from typing import Any

from fedbench_core.api import FedbenchError, RunError
from fedbench_core.federation.executors.fork_server import CONTEXT, start_process
from fedbench_core.federation.executors.scheduler import Answers, Arrived, Batch, LostError, News, NotStarted

Compute = Callable[[Any], Any]
Begin = Callable[[Callable[[Any], None], int], Compute]
"""Makes what computes tasks in a worker, from a function that sends news to the parent, and the worker's number."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Numbers of malloc.h."""
_END_SECONDS = 1.0


@dataclass
class _WorkerProcess:
    """A process, this end of its pipe, and the batches sent to it, of which it computes the first.

    number: from 0 to one less than there are workers; one that replaces another has its number.
    begun: whether it is set up; since: when it started the first batch.
    """

    number: int
    process: BaseProcess
    pipe: Connection
    batches: deque[Batch] = field(default_factory=deque)
    begun: bool = False
    since: float = math.inf

    def kill(self) -> int | None:
        """End the process; its exit status."""
        self.process.kill()
        self.process.join()
        self.pipe.close()
        return self.process.exitcode


class ProcessPool:
    """`workers` processes that each call `begin` once, and what it returns for every task.

    limit: seconds for a task, after which its worker is ended. reuse: whether a worker computes more than one batch.
    """

    def __init__(self, begin: Begin, workers: int, *, limit: float | None = None, reuse: bool = True) -> None:
        self.workers = workers
        self._begin = begin
        self._limit = limit
        self._reuse = reuse
        self._processes: list[_WorkerProcess] = []
        for _ in range(workers if reuse else 0):
            self._start()

    def room(self, depth: int) -> int:
        """How many more batches can be sent, if each worker may have `depth` of them."""
        return self.workers * (depth if self._reuse else 1) - sum(len(worker.batches) for worker in self._processes)

    def send(self, batch: Batch) -> None:
        """Send a batch to the worker with the fewest; tasks are small, so that the pipe has room for two batches."""
        if len(self._processes) < self.workers:
            self._start()
        worker = min(self._processes, key=lambda worker: len(worker.batches))
        if worker.begun and not worker.batches:
            worker.since = time.monotonic()
        worker.batches.append(batch)
        with suppress(OSError):  # a worker that is dead is found when its answer is read
            worker.pipe.send([task for _, task in batch])

    def receive(self, *, wait: bool) -> list[tuple[Batch, Arrived]]:
        """What has arrived from workers, and which of them died or exceeded their time."""
        busy = self._busy()
        ready = connection.wait([worker.pipe for worker in busy], self._patience(busy) if wait else 0)
        received: list[tuple[Batch, Arrived]] = []
        for worker in busy:
            if worker.pipe in ready:
                received += self._read(worker)
            elif self._left(worker) <= 0:
                self._remove(worker)
                received += _lost(worker, f"no answer within --client-timeout {self._limit:g} s")
        return received

    def working(self) -> list[Any]:
        """The first task of the batch that each worker computes; None if it waits or is not set up yet."""
        return [worker.batches[0][0][1] if worker.begun and worker.batches else None for worker in self._processes]

    def discard(self) -> None:
        """End the workers that compute something."""
        for worker in self._busy():
            self._remove(worker)

    def close(self) -> None:
        """End all workers, whatever they are doing."""
        for worker in list(self._processes):
            self._remove(worker)

    def _start(self) -> None:
        ours, theirs = CONTEXT.Pipe()
        number = min(set(range(self.workers)) - {worker.number for worker in self._processes})
        process = start_process(_serve, theirs, self._begin, number, list(sys.path))
        theirs.close()  # so that the pipe ends with the process
        self._processes.append(_WorkerProcess(number, process, ours))

    def _busy(self) -> list[_WorkerProcess]:
        return [worker for worker in self._processes if worker.batches]

    def _remove(self, worker: _WorkerProcess) -> int | None:
        self._processes.remove(worker)
        return worker.kill()

    def _read(self, worker: _WorkerProcess) -> list[tuple[Batch, Arrived]]:
        try:
            arrived = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join(_END_SECONDS)  # before it is killed, for its own exit status
            return _lost(worker, f"its worker died with exit status {self._remove(worker)} (-9: out of memory?)")
        if arrived is None:
            worker.begun, worker.since = True, time.monotonic()
            return []
        if not isinstance(arrived, Answers):
            return [(worker.batches[0], arrived)]
        batch, worker.since = worker.batches.popleft(), time.monotonic()
        if not self._reuse:
            self._remove(worker)
        return [(batch, arrived)]

    def _left(self, worker: _WorkerProcess) -> float:
        """Seconds that a worker has left for its batch; no limit while it begins."""
        if self._limit is None:
            return math.inf
        return worker.since + self._limit * len(worker.batches[0]) - time.monotonic()

    def _patience(self, busy: Sequence[_WorkerProcess]) -> float | None:
        left = min(map(self._left, busy), default=0.0)
        return None if left == math.inf else max(left, 0.0)


def _lost(worker: _WorkerProcess, reason: str) -> list[tuple[Batch, Arrived]]:
    """Only the first batch of a lost worker can have caused the loss."""
    first, *others = worker.batches
    return [(first, LostError(reason)), *((batch, NotStarted()) for batch in others)]


def _serve(pipe: Connection, begin: Begin, number: int, path: list[str]) -> None:
    """Compute batches until the pipe ends. An error of `begin` is the answer to the first task, which has a reader."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.path[:] = path
    keep_freed_memory()
    with suppress(EOFError, OSError):  # the parent is gone
        compute = _begun(begin, lambda value: pipe.send(News(value)), number)
        pipe.send(None)
        while True:
            tasks, start = pipe.recv(), time.monotonic()
            values = [_value(compute, task) for task in tasks]
            pipe.send(Answers(values, time.monotonic() - start))


def _begun(begin: Begin, tell: Callable[[Any], None], number: int) -> Compute:
    try:
        return begin(tell, number)
    except Exception as error:  # noqa: BLE001
        failure = portable(error)
        return lambda _task: failure


def _value(compute: Compute, task: Any) -> Any:
    try:
        return compute(task)
    except Exception as error:  # noqa: BLE001
        return portable(error)


def portable(error: Exception) -> Exception:
    """The same error for another process; with its traceback, if it is neither a FedbenchError nor an OSError."""
    if isinstance(error, FedbenchError):
        return RunError(str(error))
    if isinstance(error, OSError):
        return RunError(f"{type(error).__name__}: {error}")
    return RuntimeError("".join(format_exception(error)))


def keep_freed_memory() -> None:
    """Keep freed memory in this process, because the next training step needs it again: up to 4 % faster with glibc."""
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, 2**25)  # the maximum in glibc
        mallopt(_M_TRIM_THRESHOLD, 2**28)


def _end_with_parent() -> None:
    """End this process when its parent is gone: it would compute to the end, or wait for tasks."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
