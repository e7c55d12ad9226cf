"""What no part may depend on, and context managers that change it: clock, process, machine, hashes of strings."""

import builtins
import datetime as dt
import os
import platform
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import ModuleType
from typing import Any

import pytest

Modules = Sequence[ModuleType]
_DAY = 86_400
_CLOCKS = ("time", "monotonic", "perf_counter", "process_time")
_OTHERS = sys.stdlib_module_names | {"fedbench_core", "numpy", "torch", "timm"}


def modules_of(part: object) -> Modules:
    """The loaded modules of the packages that define a part's class and its bases, without fedbench's own."""
    packages = {base.__module__.partition(".")[0] for base in type(part).__mro__} - _OTHERS
    return [module for name, module in list(sys.modules.items()) if name.partition(".")[0] in packages]


def put_in_place(patch: pytest.MonkeyPatch, owner: Any, name: str, new: Any, modules: Modules) -> None:
    """Replace `owner.name`, also in `modules` that imported it by name (`from time import time`)."""
    old = getattr(owner, name)
    patch.setattr(owner, name, new)
    for module in modules:
        for own, value in list(vars(module).items()):
            if value is old:
                patch.setattr(module, own, new)


class _ReadsTheClock(dt.datetime):
    """A datetime whose `now` uses `time.time`."""

    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> "_ReadsTheClock":
        return cls.fromtimestamp(time.time(), tz)

    @classmethod
    def utcnow(cls) -> "_ReadsTheClock":
        return cls.fromtimestamp(time.time(), dt.UTC).replace(tzinfo=None)


@contextmanager
def _clock(number: int, modules: Modules) -> Iterator[None]:
    """All clocks stand still, on another day for each number."""
    now = 1.7e9 + number * 400.3 * _DAY
    local, utc = time.localtime, time.gmtime
    with pytest.MonkeyPatch.context() as patch:
        for name in _CLOCKS:
            put_in_place(patch, time, name, lambda: now, modules)
            put_in_place(patch, time, f"{name}_ns", lambda: int(now * 1e9), modules)
        put_in_place(patch, time, "localtime", lambda seconds=None: local(now if seconds is None else seconds), modules)
        put_in_place(patch, time, "gmtime", lambda seconds=None: utc(now if seconds is None else seconds), modules)
        put_in_place(patch, dt, "datetime", _ReadsTheClock, modules)
        yield


@contextmanager
def _process(number: int, modules: Modules) -> Iterator[None]:
    """Another process id for each number."""
    with pytest.MonkeyPatch.context() as patch:
        put_in_place(patch, os, "getpid", lambda: 41 + number, modules)
        put_in_place(patch, os, "getppid", lambda: 7 + number, modules)
        yield


@contextmanager
def _machine(number: int, modules: Modules) -> Iterator[None]:
    """Another machine name and number of cores for each number."""
    with pytest.MonkeyPatch.context() as patch:
        put_in_place(patch, socket, "gethostname", lambda: f"machine-{number}", modules)
        put_in_place(patch, platform, "node", lambda: f"machine-{number}", modules)
        put_in_place(patch, os, "cpu_count", lambda: 3 + number, modules)
        yield


@contextmanager
def _hashes(number: int, modules: Modules) -> Iterator[None]:
    """Other hashes of strings for each number, as in every new process."""
    original = builtins.hash

    def salted(value: object) -> int:
        return original((value, number)) if isinstance(value, str | bytes) else original(value)

    with pytest.MonkeyPatch.context() as patch:
        put_in_place(patch, builtins, "hash", salted, modules)
        yield


OUTSIDE: Mapping[str, Callable[[int, Modules], AbstractContextManager[None]]] = {
    "clock": _clock,
    "process id": _process,
    "machine": _machine,
    "hash() of strings": _hashes,
}
