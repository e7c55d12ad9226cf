"""timm's backbones as `list` and `show` tell them: no plugin registers them, and there are more than a thousand."""

from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cache, partial
from importlib.metadata import version
from typing import Any

from fedbench_core.models import ALIASES, TimmArchitecture, names
from fedbench_core.registry import Option, read_options


def aliases(pattern: str) -> list[dict[str, Any]]:
    """One entry per alias that matches `pattern`."""
    matching = sorted(alias for alias in ALIASES if pattern in alias or fnmatchcase(alias, pattern))
    return [_line(alias, f"short for {ALIASES[alias]}") for alias in matching]


def architectures(pattern: str) -> list[dict[str, Any]]:
    """One entry per id of timm that matches `pattern`; all of them for ""."""
    return [_line(name, "") for name in names(pattern)]


def origin(name: str) -> dict[str, Any]:
    """What `show` tells of a name of timm, but its options."""
    doc = f"Short for {ALIASES[name]}." if name in ALIASES else "An architecture of timm."
    return {"kind": "backbone", "name": name, "distribution": "timm", "version": version("timm"), "doc": doc}


@cache
def options() -> tuple[Option, ...]:
    """What can be set on every backbone of timm."""
    return read_options(partial(TimmArchitecture, name=""))


def close(name: str) -> str:
    """A sentence about ids of timm that `name` may have been meant for, or ""."""
    found = get_close_matches(name, names(), n=3)
    return f"Close backbones of timm: {', '.join(found)}." if found else ""


def _line(name: str, summary: str) -> dict[str, Any]:
    return {"name": name, "summary": summary, "options": [option.name for option in options()], "distribution": "timm"}
