"""An executor on a pool of workers."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager

from fedbench_core.api import RunError
from fedbench_core.federation.blame import label
from fedbench_core.federation.calls import AggregateCall, Call, Done, PredictCall, TurnCall
from fedbench_core.federation.executors import Tell
from fedbench_core.federation.executors.scheduler import ATTEMPTS, LostError, Pool, Scheduler
from fedbench_core.federation.resolved import ResolvedRun

Unpack = Callable[[Done], AbstractContextManager[Done]]


class Pooled:
    """Computes calls in a pool.

    unpack: the outcome of what a worker returned, whose blobs can be read until its context ends; batches: as for
    `Scheduler`.
    """

    def __init__(self, run: ResolvedRun, pool: Pool, unpack: Unpack, *, batches: bool) -> None:
        self.workers = pool.workers
        self.tell: Tell = lambda _calls: None
        self._run = run
        self._pool = pool
        self._unpack = unpack
        self._scheduler = Scheduler(pool, batches=batches)

    def run(self, calls: Iterable[Call]) -> Iterator[Done]:
        """The outcomes, in the order of the calls; RunError names the call whose worker dies or hangs each time."""
        for call, value in self._scheduler.run(calls, _cost, self.tell):
            if isinstance(value, LostError):
                raise RunError(f"{call.label}: {value} in {_part(self._run, call)}, {ATTEMPTS} times.")
            if isinstance(value, Exception):
                raise value
            with self._unpack(value) as done:
                yield done

    def close(self) -> None:
        """End all workers."""
        self._pool.close()


def _cost(call: Call) -> float:
    return call.num_images if isinstance(call, TurnCall) else 0.0


def _part(run: ResolvedRun, call: Call) -> str:
    """The part whose code a call runs."""
    of_server = isinstance(call, AggregateCall) or (isinstance(call, PredictCall) and call.of == "server")
    if of_server:
        return label("aggregator", run.spec.aggregator or run.method.aggregator)
    return label("local_update", run.method.local_update)
