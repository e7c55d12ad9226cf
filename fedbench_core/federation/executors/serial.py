"""Everything in this process, one call after the other."""

from collections.abc import Iterable, Iterator

import torch

from fedbench_core.federation.calls import Call, Done
from fedbench_core.federation.executors.start import set_up_torch
from fedbench_core.federation.spec import RunSpec
from fedbench_core.federation.worker import Worker


class Serial:
    """One worker, here. Sets the number of torch threads, which is part of the spec, and puts it back at the end."""

    def __init__(self, worker: Worker, spec: RunSpec) -> None:
        self._worker = worker
        self._threads_before = torch.get_num_threads()
        set_up_torch(spec)

    def run(self, calls: Iterable[Call]) -> Iterator[Done]:
        """The outcomes, in the order of the calls."""
        for call in calls:
            yield self._worker.do(call)

    def close(self) -> None:
        """Give back what was taken."""
        torch.set_num_threads(self._threads_before)
