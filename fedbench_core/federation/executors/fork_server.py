"""The fork server, which imports torch once for all worker processes. It ends with this process."""

import multiprocessing
import signal
import sys
import threading
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
    with _detached(), _uninterrupted():
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


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """A Ctrl-C in this block takes effect at its end: a process that gets half of its arguments prints a traceback.

    Blocking the signal isn't enough: another thread may receive it, and Python handles it in the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: received.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if received:
            signal.raise_signal(signal.SIGINT)
