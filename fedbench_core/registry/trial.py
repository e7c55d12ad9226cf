"""A first import of plugins in a process of its own, because an import may end the process or fork it."""

import hashlib
import json
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path

from fedbench_core.api.folders import default_cache
from fedbench_core.registry.names import GROUP

_Load = Callable[[EntryPoint], object]
_PATIENCE_SECONDS = 2.0
"""How long the parent waits for copies of the process that an import left behind."""


def failures(points: Sequence[EntryPoint], load: _Load) -> list[str]:
    """For each plugin why it can't be loaded into this process; "" if it can.

    load: imports the plugin and calls its hooks. All are tried in one fork of this process, but for those whose files
    passed before on this machine; the plugins behind one that fails are tried in another fork. A fork takes
    milliseconds, since torch is imported already; it isn't safe in a process with threads, where nothing is tried.
    """
    found = [""] * len(points)
    if sys.platform != "linux" or threading.active_count() > 1:
        return found
    marks = [default_cache() / "plugins" / key_of(point) for point in points]
    new = [at for at, mark in enumerate(marks) if not mark.exists()]
    while new:
        passed, problem = _tried([points[at] for at in new], load)
        for at in new[:passed]:
            with suppress(OSError):  # then it is tried again next time
                marks[at].parent.mkdir(parents=True, exist_ok=True)
                marks[at].touch()
        for at in new[passed : passed + 1]:
            found[at] = problem
        new = new[passed + 1 :]
    return found


def key_of(point: EntryPoint) -> str:
    """A digest of the plugin's version, and of the names, sizes and modification times of its files."""
    version = point.dist.version if point.dist else ""
    facts = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files_of(point)]
    text = json.dumps([point.name, point.value, version, sys.version, facts])
    return hashlib.sha256(text.encode()).hexdigest()


@cache  # a process imports plugins once: later changes of their files don't concern it
def key_of_plugins() -> str:
    """A digest of all installed plugins as they were at the first call; "" if the files of one are not known."""
    points: list[EntryPoint] = sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value))
    if not all(map(files_of, points)):
        return ""
    return hashlib.sha256(json.dumps([key_of(point) for point in points]).encode()).hexdigest()


def files_of(point: EntryPoint) -> list[Path]:
    """The Python files of the package or module."""
    try:
        spec = find_spec(point.module.partition(".")[0])  # the whole name would import the package
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []
    folders = spec.submodule_search_locations
    if folders is None:
        return [Path(spec.origin)] if spec.origin and Path(spec.origin).is_file() else []
    return sorted(path for folder in folders for path in Path(folder).rglob("*.py"))


def _tried(points: Sequence[EntryPoint], load: _Load) -> tuple[int, str]:
    """How many plugins could be loaded, one after another, and the problem of the one behind them, if there is one."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _try(points, load, writer)
    os.close(writer)
    try:
        _, status = os.waitpid(child, 0)
        written = _received(reader)
    except KeyboardInterrupt:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        point = points[min(len(_reports(_received(reader))), len(points) - 1)]
        raise KeyboardInterrupt(f"The plugin {point.name!r} ({point.value}) was being imported.") from None
    finally:
        os.close(reader)
    reports = _reports(written)
    for at, process in reports:
        if process != child:
            return at, "its import forked the process: start no process on import"
    if len(reports) == len(points):
        return len(points), ""
    code = os.waitstatus_to_exitcode(status)
    return len(
        reports
    ), f"its import ended the process with {f'status {code}' if code >= 0 else signal.Signals(-code).name}"


def _reports(written: bytes) -> list[tuple[int, int]]:
    """For each report the number of the plugin that was loaded, and the process that loaded it."""
    pairs = (line.split() for line in written.splitlines())
    return [(int(at), int(process)) for at, process in pairs]


def _try(points: Sequence[EntryPoint], load: _Load, writer: int) -> None:
    """Load the plugins and end this process. A fork of it reports the plugin that made it, too, and ends there."""
    silent = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silent, stream)
    own = os.getpid()
    for at, point in enumerate(points):
        with suppress(BaseException):  # the parent will get the same exception, and reports it
            load(point)
        os.write(writer, f"{at} {os.getpid()}\n".encode())
        if os.getpid() != own:
            break
    os._exit(0)


def _received(reader: int) -> bytes:
    """What was written until all copies of the child have ended, or the patience has."""
    text, end = b"", time.monotonic() + _PATIENCE_SECONDS
    while (left := end - time.monotonic()) > 0 and select.select([reader], [], [], left)[0]:
        piece = os.read(reader, select.PIPE_BUF)
        if not piece:
            break
        text += piece
    return text
