"""The fork server, which imports torch once for all worker processes. It ends with this process."""

import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
_PRELOAD = "fedbench_core.federation.executors.preload"


def start_server(*modules: str) -> None:
    """Start the fork server in the background, unless it is running; it imports `modules`, too."""
    CONTEXT.set_forkserver_preload([_PRELOAD, *modules])
    with _detached():
        forkserver.ensure_running()


def start_process(function: Callable[..., None], *arguments: Any) -> BaseProcess:
    """Fork a process that runs `function`."""
    start_server()
    process = CONTEXT.Process(target=function, args=arguments)
    with _detached():
        process.start()
    return process


@contextmanager
def _detached() -> Iterator[None]:
    """Processes that start in this block ignore Ctrl-C, and don't import the caller's script.

    So that script needs no `if __name__ == "__main__"`.
    """
    resource_tracker.ensure_running()  # before the signal is blocked, because this unblocks it
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        sys.modules["__main__"] = main
