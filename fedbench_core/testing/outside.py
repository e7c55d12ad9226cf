"""What no part may depend on, and how to change it for a moment: the clock, the process, Python's hashes of strings."""

import builtins
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

import pytest

_DAY = 86_400
_CLOCKS = ("time", "monotonic", "perf_counter", "process_time")


@contextmanager
def _clock(number: int) -> Iterator[None]:
    """Every clock stands still, on another day for each number."""
    now = 1.7e9 + number * 400.3 * _DAY
    local, utc = time.localtime, time.gmtime
    with pytest.MonkeyPatch.context() as patch:
        for name in _CLOCKS:
            patch.setattr(time, name, lambda: now)
            patch.setattr(time, f"{name}_ns", lambda: int(now * 1e9))
        patch.setattr(time, "localtime", lambda seconds=None: local(now if seconds is None else seconds))
        patch.setattr(time, "gmtime", lambda seconds=None: utc(now if seconds is None else seconds))
        yield


@contextmanager
def _process(number: int) -> Iterator[None]:
    """Another process id for each number."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "getpid", lambda: 41 + number)
        patch.setattr(os, "getppid", lambda: 7 + number)
        yield


@contextmanager
def _hashes(number: int) -> Iterator[None]:
    """Other hashes of strings for each number, as they are in every new process."""
    original = builtins.hash

    def salted(value: object) -> int:
        return original((value, number)) if isinstance(value, str | bytes) else original(value)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builtins, "hash", salted)
        yield


OUTSIDE: Mapping[str, Callable[[int], AbstractContextManager[None]]] = {
    "clock": _clock,
    "process id": _process,
    "hash() of strings": _hashes,
}
