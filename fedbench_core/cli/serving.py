"""The environment of a command that trains: a fork server for workers, and SIGTERM handled like Ctrl-C."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from fedbench_core.garbage import importing


@contextmanager
def serving(*further: str, processes: bool = True) -> Iterator[None]:
    """Run a fork server, which also imports the modules `further`, as long as the context lasts.

    On Linux it is a copy of this process with all plugins, unless this process has computed something: enter the
    context before importing torch.
    """
    fresh = "torch" not in sys.modules
    with importing() if fresh else nullcontext():
        from fedbench_core.federation.executors import fork_server  # noqa: PLC0415  # not for --help

    signal.signal(signal.SIGTERM, _interrupt)
    if processes and fresh and sys.platform == "linux":
        fork_server.start_server_as_copy(*further)
    elif processes:
        fork_server.start_server(*further)
    yield


def _interrupt(*_signal: object) -> None:
    raise KeyboardInterrupt
