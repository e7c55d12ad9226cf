"""The fork server: all workers are forked from it, so that none has to import torch. It ends with this process."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from multiprocessing import forkserver, resource_tracker, util
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from fedbench_core.garbage import importing
from fedbench_core.registry import registry

CONTEXT = multiprocessing.get_context("forkserver")
_PRELOAD = "fedbench_core.federation.executors.preload"
_IMPORTED = "fedbench_core.federation.executors.imported"


def start_server(*modules: str) -> None:
    """Start the fork server in the background, unless it is running; it imports `modules`, too."""
    CONTEXT.set_forkserver_preload([_PRELOAD, *modules])
    with _detached():
        forkserver.ensure_running()


def start_server_as_copy(*modules: str) -> None:
    """Import what workers need and `modules`, then start the fork server as a copy of this process.

    For a process that has computed nothing yet. It needs the same modules, and to import them twice takes seconds.
    Plugins are imported, too. If one starts a thread, which a copy would lack, or a GPU, the server is a new process.
    """
    with importing():  # ends before the copy is made, in which no block ends
        for module in (_IMPORTED, *modules):
            import_module(module)
        import_module("scipy.linalg")  # the threads of its OpenBLAS, with which a process can be copied, don't count
        before = _num_threads()
        registry()
    if _num_threads() > before:
        start_server(*modules)
        return
    spawn = util.spawnv_passfds
    util.spawnv_passfds = _forked  # type: ignore[assignment]  # what it is called with
    try:
        start_server(*modules)
    finally:
        util.spawnv_passfds = spawn


def _num_threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def _forked(executable: str, command: Sequence[Any], inherited: Sequence[int]) -> int:
    """Run the Python code of `command` in a copy of this process instead of a new interpreter; its process id.

    A new interpreter all the same if this process has started a GPU, which a copy can't use.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if torch.cuda._is_in_bad_fork():  # noqa: SLF001  # only a copy can tell, and only so
            for number in inherited:
                os.set_inheritable(number, True)
            os.execv(executable, list(command))  # noqa: S606  # the interpreter of this process
        forkserver._forkserver._lock = threading.Lock()  # type: ignore[attr-defined]  # noqa: SLF001  # it is held here
        _close_other_ends(inherited)
        exec(command[-1], {})  # noqa: S102  # what `python -c` would run
    finally:
        os._exit(0)


def _close_other_ends(pipes: Sequence[int]) -> None:
    """Close the other ends of pipes, so that the reader sees when this program closes the writer."""
    inodes = {os.fstat(pipe).st_ino for pipe in pipes}
    for number in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
        with suppress(OSError):  # the descriptor of the listing is closed
            if number not in pipes and os.fstat(number).st_ino in inodes:
                os.close(number)


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
