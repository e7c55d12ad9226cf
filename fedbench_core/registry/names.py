"""Patterns of names, as `fedbench list KIND PATTERN` takes them."""

from collections.abc import Iterable
from fnmatch import fnmatchcase


def matching(names: Iterable[str], pattern: str) -> list[str]:
    """The names that match `pattern`, sorted; without wildcards, those that contain it."""
    glob = pattern if set(pattern) & set("*?[") else f"*{pattern}*"
    return sorted(name for name in names if fnmatchcase(name, glob))
