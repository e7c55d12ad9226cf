"""What the fork server imports, once, for all workers: start it early, and it is ready when the data are."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, resource_tracker
from types import ModuleType
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")


def start_server(*further: str) -> None:
    """Start the fork server, in the background, unless it runs already; it imports `further` modules too."""
    CONTEXT.set_forkserver_preload(["fedbench_core.federation.executors.imports", *further])
    with quietly():
        forkserver.ensure_running()


def stop_server() -> None:
    """End the fork server, also in the middle of its imports; it would only notice after them that nobody is left."""
    server: Any = forkserver._forkserver  # noqa: SLF001 - there is no public way
    pid = server._forkserver_pid  # noqa: SLF001 - as above
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        server._stop()  # noqa: SLF001 - as above


@contextmanager
def quietly() -> Iterator[None]:
    """Processes that are started here never see Ctrl-C, which is their parent's business, nor the caller's script.

    Without its `__main__` they do not import that script again, which so needs no guard.
    """
    resource_tracker.ensure_running()  # here, because it unblocks the signal when it starts
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        sys.modules["__main__"] = main
