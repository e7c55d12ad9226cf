"""Where turns are computed. The result never depends on it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from fedbench_core.federation.calls import Call, Done

Tell = Callable[[Sequence[Call | None]], None]
"""Called with what each worker computes, whenever that may have changed; None is one that waits."""


class Executor(Protocol):
    """Computes calls somewhere and gives their outcomes in the order of the calls."""

    workers: int
    """How many calls are computed at a time, at most."""
    tell: Tell

    def run(self, calls: Iterable[Call]) -> Iterator[Done]:
        """The outcomes, in the order of the calls; lazily, so that messages are merged while others still train."""
        ...

    def close(self) -> None:
        """Leave no process and no thread behind."""
        ...
