"""A worker from what can be sent to another process."""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection, parent_process

from fedbench_core.api import DataRequest
from fedbench_core.federation.partition import load, load_public, make_partition
from fedbench_core.federation.resolved import resolve
from fedbench_core.federation.spec import RunSpec
from fedbench_core.federation.torch_settings import set_up_torch
from fedbench_core.federation.worker import Worker

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Numbers of malloc.h."""


@dataclass(frozen=True)
class Start:
    """What a worker is made of: the resolved spec, and where the data are (mapped, so nothing is copied)."""

    spec: RunSpec
    request: DataRequest

    def worker(self) -> Worker:
        """A worker in this process, with torch set up as the spec says."""
        set_up_torch(self.spec)
        run = resolve(self.spec)
        splits = load(run, self.request)
        return Worker(run, make_partition(run, splits, load_public(run, self.request, splits)))


def keep_freed_memory() -> None:
    """Let the allocator of this process keep what is freed: a training step frees and asks for the same again.

    Without it every step pays for the same pages anew, up to 4 % of its time. Does nothing where there is no glibc.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, 2**25)  # the most that glibc takes
        mallopt(_M_TRIM_THRESHOLD, 2**28)


def settle(path: Sequence[str]) -> None:
    """Make this process a worker's: it finds modules along `path`, doesn't hear Ctrl-C, and ends with its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.path[:] = path
    keep_freed_memory()


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for calls for ever."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
