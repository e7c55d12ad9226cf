"""A first import of a plugin in a process of its own, because an import may end the process or fork it."""

import hashlib
import json
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path

from fedbench_core.api.folders import default_cache
from fedbench_core.registry.names import GROUP

_DONE = b"."
_PATIENCE_SECONDS = 2.0
"""How long the parent waits for copies of the process that an import left behind."""


def failure(point: EntryPoint, load: Callable[[], object]) -> str:
    """Why a plugin can't be loaded into this process; "" if it can.

    load: imports the plugin and calls its hooks. It is tried in a fork of this process, unless the same files passed
    before on this machine. A fork takes milliseconds, since torch is imported already; it isn't safe in a process with
    threads, where nothing is tried.
    """
    if sys.platform != "linux" or threading.active_count() > 1:
        return ""
    passed = default_cache() / "plugins" / key_of(point)
    if passed.exists():
        return ""
    try:
        problem = _tried(load)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"The plugin {point.name!r} ({point.value}) was being imported.") from None
    if not problem:
        with suppress(OSError):  # then it is tried again next time
            passed.parent.mkdir(parents=True, exist_ok=True)
            passed.touch()
    return problem


def key_of(point: EntryPoint) -> str:
    """A digest of the plugin's version, and of the names, sizes and modification times of its files."""
    version = point.dist.version if point.dist else ""
    facts = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files_of(point)]
    text = json.dumps([point.name, point.value, version, sys.version, facts])
    return hashlib.sha256(text.encode()).hexdigest()


def key_of_plugins() -> str:
    """A digest of all installed plugins; "" if the files of one are not known."""
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


def _tried(load: Callable[[], object]) -> str:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _try(load, writer)
    os.close(writer)
    try:
        _, status = os.waitpid(child, 0)
        returned = _received(reader)
    except KeyboardInterrupt:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        raise
    finally:
        os.close(reader)
    if len(returned) > 1:
        return "its import forked the process: start no process on import"
    if returned == _DONE:
        return ""
    code = os.waitstatus_to_exitcode(status)
    return f"its import ended the process with {f'status {code}' if code >= 0 else signal.Signals(-code).name}"


def _try(load: Callable[[], object], writer: int) -> None:
    """Load the plugin and end this process. A fork of it gets here, too, and writes a second time."""
    silent = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silent, stream)
    with suppress(BaseException):  # the parent will get the same exception, and reports it
        load()
    os.write(writer, _DONE)
    os._exit(0)


def _received(reader: int) -> bytes:
    """What was written until all copies of the child have ended, or the patience has."""
    text, end = b"", time.monotonic() + _PATIENCE_SECONDS
    while (left := end - time.monotonic()) > 0 and select.select([reader], [], [], left)[0]:
        piece = os.read(reader, 16)
        if not piece:
            break
        text += piece
    return text
