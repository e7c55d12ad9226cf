"""Turns as tasks of a Ray cluster: bytes go out and come back through its object store, and only this process writes.

No actor per client: a worker process of Ray's keeps what is common to all turns of a run, and a bounded number is out.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from uuid import uuid4

import numpy as np
import ray

from fedbench_core.api import Examples, RunError, Splits
from fedbench_core.federation.calls import Call, Done, Received, TurnCall, TurnDone
from fedbench_core.federation.executors.processes import ATTEMPTS
from fedbench_core.federation.executors.ray_cluster import Asked, connected, store_bytes
from fedbench_core.federation.executors.ray_node import Answer, Begin, Raw, answer, raw
from fedbench_core.federation.files import read, replace_file

Ref = object
"""Ray's name for something in its object store."""


@dataclass
class _Out:
    """A call that is out: what it was sent with, to send it again; its outcome, once that is there."""

    call: Call
    arguments: tuple[Raw | None, Ref | None]
    ref: Ref
    tries: int = 1
    answer: Answer | None = None


class RayExecutor:
    """Calls as tasks. One whose worker or node dies, or that exceeds `client_timeout` seconds, is sent again.

    whose: work this is, for the sentence about one that never ends.
    """

    def __init__(self, begin: Begin, asked: Asked, whose: str = "a turn") -> None:
        self._whose = whose
        self._timeout = begin.client_timeout
        self._received: tuple[str, Ref | None] = ("", None)
        self._open = ExitStack()
        try:
            self._cluster = self._open.enter_context(connected(asked, begin.versions))
            self.workers = self._cluster.slots
            self._task = self._cluster.remote(answer)
            self._run = uuid4().hex
            shares = replace(begin.shares, splits=portable_splits(begin.shares.splits))
            self._begin = [put(replace(begin, shares=shares))]
        except BaseException:
            self._open.close()
            raise

    def run(self, calls: Iterable[Call]) -> Iterator[Done]:
        """The outcomes in the order of the calls; what is out, or waits for an earlier one, is bounded."""
        left, out = iter(calls), deque[_Out]()
        try:
            while True:
                self._send(left, out)
                if not out:
                    return
                arrived = out[0].answer
                if arrived is None:
                    self._collect(out)
                else:
                    out.popleft()
                    yield _arrived(arrived)
        finally:
            self._cluster.drop(one.ref for one in out if one.answer is None)

    def close(self) -> None:
        """Leave the cluster; an own one ends."""
        self._begin = []
        self._received = ("", None)
        self._open.close()

    def _send(self, left: Iterator[Call], out: deque[_Out]) -> None:
        """As many calls as may be out, where not too many wait for the first of them."""
        under_way = sum(one.answer is None for one in out)
        room = min(self._cluster.ahead - under_way, 2 * self._cluster.ahead + 2 - len(out))
        for call in islice(left, max(0, room)):
            state = None if call.state is None else raw(read(call.state))
            arguments = (state, self._hear(call.received))
            sent = replace(call, hold=False) if isinstance(call, TurnCall) else call
            out.append(_Out(sent, arguments, self._start(sent, arguments)))

    def _start(self, call: Call, arguments: tuple[Raw | None, Ref | None]) -> Ref:
        ref: Ref = self._task.remote(self._run, self._begin, call, *arguments)
        return ref

    def _hear(self, received: Received | None) -> Ref | None:
        """What is received, in the object store; a broadcast is put there once."""
        if received is None:
            return None
        if self._received[0] != received.file.digest:
            self._received = (received.file.digest, put(raw(read(received.file))))
        return self._received[1]

    def _collect(self, out: deque[_Out]) -> None:
        """Wait for news of what is out: outcomes, or a death."""
        refs = {one.ref: one for one in out if one.answer is None}
        for ref in self._cluster.wait(refs):
            self._take_in(refs[ref])

    def _take_in(self, one: _Out) -> None:
        try:
            one.answer = ray.get(one.ref)
        except ray.exceptions.RayTaskError as error:
            if not isinstance(error.cause, ray.exceptions.RayError):  # such as images that did not come
                raise error.cause from None
            self._again(one, error.cause)
        except (ray.exceptions.ObjectStoreFullError, ray.exceptions.OutOfDiskError):
            raise RunError(_too_small("it is full")) from None
        except ray.exceptions.RayError as error:
            self._again(one, error)

    def _again(self, one: _Out, error: Exception) -> None:
        """Send a call once more, from the same bytes."""
        late = "" if self._timeout is None else f" or took longer than --client-timeout {self._timeout:g} s"
        where = f"client {one.call.client}, round {one.call.round}"
        if one.tries >= ATTEMPTS:
            why = f"its worker died (out of memory?){late} in {self._whose}"
            if isinstance(error, ray.exceptions.RaySystemError):  # such as a node that joined without fedbench
                why = f"a node could not begin it: {str(error).strip().splitlines()[-1]}"
            raise RunError(f"{where}: {why}, {ATTEMPTS} times ({type(error).__name__}).")
        one.tries += 1
        one.ref = self._start(one.call, one.arguments)


def _arrived(got: Answer) -> Done:
    """The outcome of a call; what is to rest is written. Raises what went wrong in it."""
    if isinstance(got.done, Exception):
        raise got.done
    for path, blob in got.rests.items():
        replace_file(path, blob.data)
    if not isinstance(got.done, TurnDone):
        return got.done
    sent, left = (None if blob is None else blob.data for blob in (got.sent, got.left))
    return replace(got.done, sent=sent, left=left)


def put(value: object) -> Ref:
    """Something in the object store; RunError where that is full."""
    try:
        ref: Ref = ray.put(value)
    except (ray.exceptions.ObjectStoreFullError, ray.exceptions.OutOfDiskError):
        raise RunError(_too_small("it is full")) from None
    return ref


def portable_splits(splits: Splits) -> Splits:
    """The same splits, whose images lie in memory that all processes of a node share, once they are there.

    RunError where they are larger than the object store of a node.
    """
    parts = (splits.train, splits.val, splits.test)
    size = sum(part.images.nbytes + part.labels.nbytes for part in parts)
    if size > store_bytes():
        raise RunError(_too_small(f"the images of {splits.name} take {size / 1e6:.0f} MB"))
    train, val, test = (_unmapped(part) for part in parts)
    return replace(splits, train=train, val=val, test=test)


def _unmapped(examples: Examples) -> Examples:
    """An array that is mapped from a file is no plain one to Ray, and would be copied into every process."""
    return replace(examples, images=np.asarray(examples.images), labels=np.asarray(examples.labels))


def _too_small(why: str) -> str:
    return (
        f"The object store of a node of the Ray cluster is too small, with {store_bytes() / 1e6:.0f} MB: {why}. "
        "Start the nodes with more: ray start --object-store-memory BYTES"
    )
