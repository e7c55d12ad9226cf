"""Folders of this program on the user's machine."""

import os
from pathlib import Path

from platformdirs import user_cache_path


def default_cache() -> Path:
    """The cache folder: FEDBENCH_CACHE, or the user's cache folder of this system."""
    named = os.environ.get("FEDBENCH_CACHE")
    return Path(named).expanduser() if named else user_cache_path("fedbench")
