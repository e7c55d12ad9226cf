"""Which task is sent when, and again if its worker is lost: for turns and whole runs, in processes and on Ray."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from fedbench_core.api import FedbenchError, RunError

ATTEMPTS = 3
"""How often a task is sent whose worker dies or hangs."""
_BATCH_SECONDS = 0.05
_BATCH_LENGTH = 8
_SHORT_SECONDS = 0.2

T = TypeVar("T")
Batch = Sequence[tuple[int, Any]]
"""Numbered tasks that one worker computes one after the other."""


@dataclass(frozen=True)
class Answers:
    """The results or errors of a batch, in order, and the seconds that it took."""

    values: Sequence[Any]
    seconds: float


@dataclass(frozen=True)
class News:
    """What a task reports before it ends."""

    value: Any


class LostError(RunError):
    """A worker died or hung before it answered."""


@dataclass(frozen=True)
class NotStarted:
    """A batch that waited behind the one with which its worker was lost."""


Arrived = Answers | News | NotStarted | LostError


class Pool(Protocol):
    """Workers somewhere. workers: how many batches they compute at a time.

    room: how many more batches can be sent now, if each worker may have `depth` of them; send: raises a FedbenchError
    that is the result of the batch; receive: returns what has arrived, and with `wait` may block until something does;
    working: the task that each worker computes, None for one that waits; discard: drops everything that is being
    computed; close: leaves no process behind.
    """

    workers: int

    def room(self, depth: int) -> int: ...  # noqa: D102
    def send(self, batch: Batch) -> None: ...  # noqa: D102
    def receive(self, *, wait: bool) -> Iterable[tuple[Batch, Arrived]]: ...  # noqa: D102
    def working(self) -> Sequence[Any]: ...  # noqa: D102
    def discard(self) -> None: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


class Scheduler:
    """Computes tasks in a pool.

    in_order: results in the order of the tasks, and only so many ahead of the first one that is missing; otherwise as
    they arrive. batches: send short tasks several at a time.
    """

    def __init__(self, pool: Pool, *, attempts: int = ATTEMPTS, in_order: bool = True, batches: bool = False) -> None:
        self._pool = pool
        self._attempts = attempts
        self._in_order = in_order
        self._longest = _BATCH_LENGTH if batches else 1
        self._seconds: float | None = None

    def run(
        self,
        tasks: Iterable[T],
        cost: Callable[[T], float] = lambda _task: 0.0,
        tell: Callable[[Sequence[T | None]], None] = lambda _working: None,
    ) -> Iterator[tuple[T, Any]]:
        """Each task with its result, its error, or its news. A caller may stop at any time.

        cost: grows with the time of a task. The last tasks are sent longest first, so that workers end together. tell:
        called with what each worker computes, when that may have changed.
        """
        queue = _Queue(tasks, self._attempts, cost, in_order=self._in_order)
        try:
            while queue.waiting or queue.out or queue.ready:
                self._send(queue)  # first, so that no worker waits while the caller works
                tell(self._pool.working())
                if queue.ready:
                    yield queue.ready.popleft()
                if queue.out:
                    self._receive(queue)
        finally:
            self._pool.discard()

    def _receive(self, queue: "_Queue[T]") -> None:
        for batch, received in self._pool.receive(wait=not queue.ready):
            if isinstance(received, Answers):
                self._learn(received.seconds / len(batch))
            queue.take_in(batch, received)

    def _send(self, queue: "_Queue[T]") -> None:
        length = 1 if queue.tries else self._batch_length  # after a loss one by one, to find the task that causes it
        most = (2 * self._pool.workers + 2) * length
        while queue.waiting and self._pool.room(self._depth) > 0 and (queue.unfinished < most or not queue.out):
            if len(queue.waiting) <= most:
                queue.longest_first()
            share = len(queue.waiting) // (2 * self._pool.workers)  # smaller and smaller, so that workers end together
            batch = queue.take_out(max(1, min(length, share)))
            try:
                self._pool.send(batch)
            except FedbenchError as error:
                queue.take_in(batch, Answers([error] * len(batch), 0.0))

    @property
    def _depth(self) -> int:
        """A worker with short tasks has its next batch before it has finished this one."""
        return 2 if self._seconds is not None and self._seconds < _SHORT_SECONDS else 1

    @property
    def _batch_length(self) -> int:
        if self._seconds is None:
            return 1
        return max(1, min(self._longest, int(_BATCH_SECONDS / max(self._seconds, 1e-6))))

    def _learn(self, seconds: float) -> None:
        self._seconds = seconds if self._seconds is None else 0.8 * self._seconds + 0.2 * seconds


class _Queue(Generic[T]):
    """Tasks that wait, the number of those that are out, and results that are ready for the caller."""

    def __init__(self, tasks: Iterable[T], attempts: int, cost: Callable[[T], float], *, in_order: bool) -> None:
        self.waiting = deque(enumerate(tasks))
        self.out = 0
        self.ready: deque[tuple[T, Any]] = deque()
        self.tries: Counter[int] = Counter()
        self._attempts = attempts
        self._cost = cost
        self._in_order = in_order
        self._early: dict[int, tuple[T, Any]] = {}
        self._next = 0

    @property
    def unfinished(self) -> int:
        """Tasks that are out, or wait for an earlier one."""
        return self.out + len(self._early) + len(self.ready)

    def longest_first(self) -> None:
        """Sort the tasks that wait; those of equal cost stay in order."""
        self.waiting = deque(sorted(self.waiting, key=lambda entry: (-self._cost(entry[1]), entry[0])))

    def take_out(self, length: int) -> list[tuple[int, T]]:
        """The next batch to send."""
        batch = [self.waiting.popleft() for _ in range(min(length, len(self.waiting)))]
        self.out += len(batch)
        return batch

    def take_in(self, batch: Batch, received: Arrived) -> None:
        """Sort in what came back."""
        if isinstance(received, News):
            self.ready.extend((task, received) for _, task in batch)
            return
        self.out -= len(batch)
        if isinstance(received, NotStarted):
            self.waiting.extendleft(reversed(batch))
            return
        if isinstance(received, LostError):
            self._again(batch, received)
            return
        for (number, task), value in zip(batch, received.values, strict=True):
            self._finish(number, task, value)

    def _again(self, batch: Batch, error: LostError) -> None:
        """Put the tasks of a lost worker back to the front, except those that had their last attempt."""
        for number, task in reversed(batch):
            self.tries[number] += 1
            if self.tries[number] < self._attempts:
                self.waiting.appendleft((number, task))
            else:
                self._finish(number, task, error)

    def _finish(self, number: int, task: T, value: Any) -> None:
        self.tries.pop(number, None)
        if not self._in_order:
            self.ready.append((task, value))
            return
        self._early[number] = (task, value)
        while self._next in self._early:
            self.ready.append(self._early.pop(self._next))
            self._next += 1
