"""Names of plugins and their parts, and patterns of them. Needs no torch."""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Final

GROUP: Final = "fedbench"
"""The group of the entry points of plugins."""


def matching(names: Iterable[str], pattern: str) -> list[str]:
    """The names that match `pattern`, sorted; without wildcards, those that contain it."""
    glob = pattern if set(pattern) & set("*?[") else f"*{pattern}*"
    return sorted(name for name in names if fnmatchcase(name, glob))


def spaced(kind: str) -> str:
    """A kind of part as sentences have it: `local update`."""
    return kind.replace("_", " ")
