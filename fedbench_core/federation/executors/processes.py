"""Workers in processes of their own, on concurrent.futures: one single-process pool each.

A pool per worker, because a pool breaks whole when a process of it dies: so only the dead worker is replaced, a client
can go back to the worker that knows it, and a hanging turn can be ended by ending its process. The processes come
from a fork server that has imported torch already; plain spawn would import it once per worker.
"""

import math
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import dataclass, field
from itertools import islice, takewhile
from pathlib import Path

from fedbench_core.api import RunError
from fedbench_core.federation.calls import Call, Done, TurnCall
from fedbench_core.federation.executors.slot import Batch, Slot
from fedbench_core.federation.executors.start import Start

ATTEMPTS = 3
"""How often a call is tried whose worker dies or hangs."""
_MESSAGE_SECONDS = 0.05
_MOST_PER_MESSAGE = 8
_SHORT_SECONDS = 0.2
_LOOK_SECONDS = 0.05


class StateLostError(RunError):
    """A worker died with client states that were not at rest: go back to the last commit, at most `ATTEMPTS` times."""


class Processes:
    """`workers` processes. A worker that dies or exceeds `client_timeout` seconds is replaced, its calls repeated.

    careful: one call per message, so that a call which ends its worker can be told from its neighbors; whose: work
    this is, for the sentence about one that never ends.
    """

    def __init__(
        self,
        start: Start,
        workers: int,
        folder: Path,
        client_timeout: float | None = None,
        *,
        careful: bool = False,
        whose: str = "a turn",
    ) -> None:
        self.workers = workers
        self._start = start
        self._careful = careful
        self._whose = whose
        self._folder = folder
        self._timeout = client_timeout
        self._slots = [Slot(start, folder) for _ in range(workers)]
        self._pace = _Pace()
        self._holders: dict[Path, Slot] = {}

    def run(self, calls: Iterable[Call]) -> Iterator[Done]:
        """The outcomes in the order of the calls; at most 2 x workers + 2 messages are out at a time."""
        flow = _Flow(deque(enumerate(calls)))
        try:
            while flow.open:
                self._send(flow)
                self._collect(flow)
                yield from flow.in_order()
        except GeneratorExit:
            self._abandon()
            raise

    def close(self) -> None:
        """End all workers, whatever they are doing."""
        for slot in self._slots:
            slot.kill()

    def _send(self, flow: "_Flow") -> None:
        """Hand out calls in order, to the worker that knows the client if it is free."""
        most = (2 * len(self._slots) + 2) * self._pace.per_message
        while flow.waiting and flow.out + len(flow.ready) < most:
            slot = self._choose(flow.waiting[0][1])
            if slot is None:
                return
            slot.send(flow.take(self._size(flow, slot)))

    def _size(self, flow: "_Flow", slot: Slot) -> int:
        """Calls in the next message to `slot`: as many as suit the pace and only this worker could take, or any could.

        After a loss every call travels alone, so that the one to blame is known.
        """
        if self._careful or flow.attempts:
            return 1
        ahead = islice(flow.waiting, self._pace.per_message)
        return sum(1 for _ in takewhile(lambda item: self._pinned(item[1]) in (None, slot), ahead))

    def _choose(self, call: Call) -> Slot | None:
        pinned = self._pinned(call)
        depth = 2 if self._pace.short else 1
        free = [slot for slot in ([pinned] if pinned else self._slots) if len(slot.batches) < depth]
        if not free:
            return None
        last = self._holders.get(call.state.path) if call.state else None
        return last if last in free else min(free, key=lambda slot: len(slot.batches))

    def _pinned(self, call: Call) -> Slot | None:
        """The worker that alone has this client's state."""
        return self._holders.get(call.state.path) if call.state and call.state.held else None

    def _collect(self, flow: "_Flow") -> None:
        """Wait for news: outcomes, a death, or a deadline."""
        heads = {slot.batches[0].future: slot for slot in self._slots if slot.batches}
        finished, _ = wait(heads, timeout=self._patience(), return_when=FIRST_COMPLETED)
        for future in finished:
            slot = heads[future]
            if slot.died:
                self._replace(slot, flow, f"its worker died (out of memory?) in {self._whose}")
            else:
                self._take_in(slot, flow)
        for slot in self._slots:
            if self._left(slot) <= 0:
                self._replace(slot, flow, f"no answer within --client-timeout {self._timeout:g} s from {self._whose}")

    def _take_in(self, slot: Slot, flow: "_Flow") -> None:
        batch, outcomes = slot.receive()
        if batch.seconds is not None:
            self._pace.learn(batch.seconds / len(batch.calls))
        for (_, call), outcome in zip(batch.calls, outcomes, strict=True):
            if isinstance(call, TurnCall) and not isinstance(outcome, Exception):
                self._remember(call, outcome, slot)
        flow.arrived(batch, outcomes)

    def _remember(self, call: TurnCall, done: Done, slot: Slot) -> None:
        if call.state is not None:
            self._holders.pop(call.state.path, None)
        state = getattr(done, "state", None)
        if state is not None:
            self._holders[state.path] = slot
            (slot.held.add if state.held else slot.held.discard)(state.path)
        if call.state is not None:
            slot.held.discard(call.state.path)

    def _patience(self) -> float | None:
        """Seconds until the first message is overdue; a worker that is still being made has none yet."""
        left = min(self._left(slot) for slot in self._slots)
        return None if left == math.inf else max(left, _LOOK_SECONDS)

    def _left(self, slot: Slot) -> float:
        """Seconds that a worker has for its present message."""
        if self._timeout is None or not slot.batches:
            return math.inf
        if slot.busy_since is None:
            return _LOOK_SECONDS
        return slot.busy_since + self._timeout * len(slot.batches[0].calls) - time.monotonic()

    def _replace(self, slot: Slot, flow: "_Flow", cause: str) -> None:
        """A new process in place of a dead or hanging one; its calls go back to the front of the queue."""
        slot.kill()
        _, call = slot.batches[0].calls[0]
        self._slots[self._slots.index(slot)] = Slot(self._start, self._folder)
        self._holders = {path: holder for path, holder in self._holders.items() if holder is not slot}
        flow.again(slot.batches, cause)
        if slot.held:
            raise StateLostError(f"client {call.client}, round {call.round}: {cause}, {ATTEMPTS} times.")

    def _abandon(self) -> None:
        """The caller stopped listening in mid-step: what is under way has no reader."""
        for number, slot in enumerate(self._slots):
            if slot.batches:
                slot.kill()
                self._slots[number] = Slot(self._start, self._folder)


@dataclass
class _Pace:
    """How long a turn takes. It decides about messages, never about results."""

    seconds: float = 1.0

    def learn(self, seconds: float) -> None:
        self.seconds = seconds if self.seconds == 1.0 else 0.8 * self.seconds + 0.2 * seconds

    @property
    def per_message(self) -> int:
        return max(1, min(_MOST_PER_MESSAGE, int(_MESSAGE_SECONDS / self.seconds)))

    @property
    def short(self) -> bool:
        """Whether a worker should have its next message before it is done with this one."""
        return self.seconds < _SHORT_SECONDS


@dataclass
class _Flow:
    """Calls on their way out and outcomes on their way back, each under its place in the order."""

    waiting: deque[tuple[int, Call]]
    out: int = 0
    ready: dict[int, Done | Exception] = field(default_factory=dict)
    attempts: Counter[int] = field(default_factory=Counter)
    _next: int = 0

    @property
    def open(self) -> bool:
        return bool(self.waiting or self.out or self.ready)

    def take(self, count: int) -> list[tuple[int, Call]]:
        taken = [self.waiting.popleft() for _ in range(min(count, len(self.waiting)))]
        self.out += len(taken)
        return taken

    def arrived(self, batch: Batch, outcomes: list[Done | Exception]) -> None:
        self.out -= len(batch.calls)
        for (number, _), outcome in zip(batch.calls, outcomes, strict=True):
            self.ready[number] = outcome

    def again(self, batches: Iterable[Batch], cause: str) -> None:
        """Put the calls of a lost worker back; only those of its first message count as tried."""
        calls = [(position, number, call) for position, batch in enumerate(batches) for number, call in batch.calls]
        self.out -= len(calls)
        self.waiting.extendleft((number, call) for _, number, call in reversed(calls))
        for position, number, call in calls:
            self.attempts[number] += position == 0
            if self.attempts[number] >= ATTEMPTS:
                raise RunError(f"client {call.client}, round {call.round}: {cause}, {ATTEMPTS} times.")

    def in_order(self) -> Iterator[Done]:
        """What has come back, as far as nothing before it is missing; an error is raised at its turn."""
        while self._next in self.ready:
            outcome = self.ready.pop(self._next)
            self.attempts.pop(self._next, None)
            self._next += 1
            if isinstance(outcome, Exception):
                raise outcome
            yield outcome
