"""The environment of a command that trains: a fork server for workers, and SIGTERM handled like Ctrl-C."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def serving(*further: str, processes: bool = True) -> Iterator[None]:
    """Run a fork server, which also imports the modules `further`, as long as the context lasts.

    The server imports torch in parallel with this process: enter the context before importing anything that needs
    torch.
    """
    from fedbench_core.federation.executors.fork_server import start_server  # noqa: PLC0415  # not for --help

    signal.signal(signal.SIGTERM, _interrupt)
    if processes:
        start_server(*further)
    yield


def _interrupt(*_signal: object) -> None:
    raise KeyboardInterrupt
