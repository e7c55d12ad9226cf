"""Everything in this process, one call after the other."""

from collections.abc import Iterable, Iterator

from fedbench_core.federation.calls import Call, Done
from fedbench_core.federation.executors import Tell
from fedbench_core.federation.worker import Worker


class Serial:
    """One worker, here."""

    workers = 1

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self.tell: Tell = lambda _calls: None

    def run(self, calls: Iterable[Call]) -> Iterator[Done]:
        """The outcomes, in the order of the calls."""
        for call in calls:
            self.tell([call])
            yield self._worker.do(call)

    def close(self) -> None:
        """Nothing was taken."""
