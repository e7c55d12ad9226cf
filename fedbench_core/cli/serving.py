"""What a command that trains needs around it: a fork server for workers, and a cluster's way to say Ctrl-C."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def serving(*further: str, processes: bool = True) -> Iterator[None]:
    """A fork server for the length of a command, that imports `further` modules too; it starts before torch is needed.

    It imports torch at the same time as this process does, so enter this before importing anything that needs it.
    """
    from fedbench_core.federation.executors.fork_server import start_server  # noqa: PLC0415  # not for --help

    signal.signal(signal.SIGTERM, _interrupt)
    if processes:
        start_server(*further)
    yield


def _interrupt(*_signal: object) -> None:
    raise KeyboardInterrupt
