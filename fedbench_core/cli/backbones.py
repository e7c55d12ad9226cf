"""timm's backbones as entries of `list` and `show`. No plugin registers them, and there are more than a thousand."""

from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cache, partial
from importlib.metadata import version
from typing import Any

from fedbench_core.models import ALIASES, TimmArchitecture, names
from fedbench_core.registry import Option, read_options


def aliases(pattern: str) -> list[dict[str, Any]]:
    """One entry per short name that matches `pattern`."""
    matching = sorted(alias for alias in ALIASES if pattern in alias or fnmatchcase(alias, pattern))
    return [_line(alias, f"short for {ALIASES[alias]}") for alias in matching]


def architectures(pattern: str) -> list[dict[str, Any]]:
    """One entry per name in timm that matches `pattern`; all names for ""."""
    return [_line(name, "") for name in names(pattern)]


def origin(name: str) -> dict[str, Any]:
    """The entry of a timm backbone without its options."""
    doc = f"Short for {ALIASES[name]}." if name in ALIASES else "A timm architecture."
    return {"kind": "backbone", "name": name, "distribution": "timm", "version": version("timm"), "doc": doc}


@cache
def options() -> tuple[Option, ...]:
    """The options of every timm backbone."""
    return read_options(partial(TimmArchitecture, name=""))


def close(name: str) -> str:
    """A sentence with names in timm that are similar to `name`, or "" if there are none."""
    found = get_close_matches(name, names(), n=3)
    return f"Similar backbones in timm: {', '.join(found)}." if found else ""


def _line(name: str, summary: str) -> dict[str, Any]:
    return {"name": name, "summary": summary, "options": [option.name for option in options()], "distribution": "timm"}
