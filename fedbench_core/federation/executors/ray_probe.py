"""What a node is asked before anything else. It may lack fedbench, so this stands on the standard library alone."""

import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version


def installed(names: Sequence[str]) -> dict[str, str | None]:
    """The version of each distribution here ("python": the interpreter's), None for one that is not installed."""
    found: dict[str, str | None] = {}
    for name in names:
        try:
            found[name] = platform.python_version() if name == "python" else version(name)
        except PackageNotFoundError:
            found[name] = None
    return found
