"""Folders of this program on the user's machine, and files in its cache."""

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from platformdirs import user_cache_path


def default_cache() -> Path:
    """The cache folder: FEDBENCH_CACHE, or the user's cache folder of this system."""
    named = os.environ.get("FEDBENCH_CACHE")
    return Path(named).expanduser() if named else user_cache_path("fedbench")


def read_cached(path: Path) -> bytes | None:
    """What `cached` was the file of; None if it is missing or damaged."""
    with suppress(OSError):
        digest, newline, content = path.read_bytes().partition(b"\n")
        if newline and digest == _digest(content):
            return content
    return None


def cached(content: bytes) -> bytes:
    """A file of the cache for `read_cached`: its contents behind their digest."""
    return _digest(content) + b"\n" + content


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()
