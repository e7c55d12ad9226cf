"""One worker process: what it has been sent, what it answers, and its end."""

import itertools
import mmap
import os
import signal
import sys
import time
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from fedbench_core.api import FedbenchError, RunError
from fedbench_core.federation.calls import Call, Done, TurnDone
from fedbench_core.federation.executors.preload import CONTEXT, quietly, start_server
from fedbench_core.federation.executors.start import Start, settle
from fedbench_core.federation.files import Blob
from fedbench_core.federation.worker import Worker

_INLINE_BYTES = 2**16
"""Longer blobs come through a file: a pipe would copy them four times."""
Answer = tuple[float, list[Done | Exception]]


@dataclass
class Batch:
    """Numbered calls in one message. `started`: when the worker turned to it; `seconds`: how long they took there."""

    calls: list[tuple[int, Call]]
    future: "Future[Answer]"
    started: float
    seconds: float | None = None


class Slot:
    """A worker process and the messages sent to it that are not answered yet."""

    def __init__(self, start: Start, folder: Path) -> None:
        start_server()
        self._folder = folder
        self._pool = ProcessPoolExecutor(1, CONTEXT)
        with quietly():
            self._pid = self._pool.submit(os.getpid)  # first, so that a worker can be ended while it is being made
        self._made_at: float | None = None
        self._pool.submit(_begin, start, list(sys.path)).add_done_callback(self._made)
        self.batches: deque[Batch] = deque()
        self.held: set[Path] = set()
        """States that only this worker has."""

    def _made(self, _future: "Future[None]") -> None:
        self._made_at = time.monotonic()

    @property
    def busy_since(self) -> float | None:
        """When the worker turned to the first message; None while it is being made, or has none."""
        if self._made_at is None or not self.batches:
            return None
        return max(self._made_at, self.batches[0].started)

    @property
    def died(self) -> bool:
        """Whether the process ended without being told to."""
        future = self.batches[0].future
        return future.done() and isinstance(future.exception(), BrokenProcessPool)

    def send(self, calls: list[tuple[int, Call]]) -> None:
        """Hand over a message."""
        try:
            future = self._pool.submit(_answer, [call for _, call in calls], self._folder)
        except BrokenProcessPool as error:  # it died while it had nothing to do
            future = Future()
            future.set_exception(error)
        self.batches.append(Batch(calls, future, time.monotonic()))

    def receive(self) -> tuple[Batch, list[Done | Exception]]:
        """The first message and the outcomes of its calls."""
        batch = self.batches.popleft()
        batch.seconds, outcomes = batch.future.result()
        if self.batches:
            self.batches[0].started = time.monotonic()
        return batch, [fetched(outcome) if isinstance(outcome, TurnDone) else outcome for outcome in outcomes]

    def kill(self) -> None:
        """End the process now and wait until it is gone."""
        with suppress(BrokenProcessPool, ProcessLookupError):
            os.kill(self._pid.result(), signal.SIGKILL)
        self._pool.shutdown(wait=True, cancel_futures=True)


_worker: Worker | Exception


def _begin(start: Start, path: list[str]) -> None:
    """Make this process a worker. What goes wrong is told in the first answer, which has a reader."""
    global _worker  # noqa: PLW0603 - calls find here what the first one made
    settle(path)
    try:
        _worker = start.worker()
    except Exception as error:  # noqa: BLE001 - kept for the first answer
        _worker = error


def _answer(calls: list[Call], folder: Path) -> Answer:
    start = time.monotonic()
    outcomes = [_outcome(call, folder) for call in calls]
    return time.monotonic() - start, outcomes


def _outcome(call: Call, folder: Path) -> Done | Exception:
    if isinstance(_worker, Exception):
        return portable(_worker)
    try:
        done = _worker.do(call)
        return left(done, folder) if isinstance(done, TurnDone) else done
    except (FedbenchError, OSError) as error:
        return portable(error)


def portable(error: Exception) -> RunError:
    """The same sentence in a class that can cross between processes."""
    return RunError(str(error) if isinstance(error, FedbenchError) else f"{type(error).__name__}: {error}")


_numbers = itertools.count()


def left(done: TurnDone, folder: Path) -> TurnDone:
    """The outcome with its long blobs put into files, for the reader on this machine."""
    return replace(done, sent=_put(done.sent, folder), left=_put(done.left, folder))  # type: ignore[arg-type]


def fetched(done: TurnDone) -> TurnDone:
    """The outcome with its blobs, mapped from those files, which are gone then."""
    return replace(done, sent=_got(done.sent), left=_got(done.left))


def _put(blob: Blob | None, folder: Path) -> Blob | Path | None:
    if not isinstance(blob, bytes) or len(blob) <= _INLINE_BYTES:
        return blob
    path = folder / f".message.{os.getpid()}.{next(_numbers)}.part"
    path.write_bytes(blob)
    return path


def _got(blob: Blob | Path | None) -> Blob | None:
    if not isinstance(blob, Path):
        return blob
    with blob.open("rb") as stream:
        view = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    blob.unlink()
    return view
