"""Where turns are computed. The result never depends on it."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from fedbench_core.federation.calls import Call, Done


class Executor(Protocol):
    """Computes calls somewhere and gives their outcomes in the order of the calls."""

    workers: int
    """How many calls are computed at a time, at most."""

    def run(self, calls: Iterable[Call]) -> Iterator[Done]:
        """The outcomes, in the order of the calls; lazily, so that messages are merged while others still train."""
        ...

    def close(self) -> None:
        """Leave no process and no thread behind."""
        ...
