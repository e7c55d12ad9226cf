"""Errors, by who can correct them; the class decides the exit status."""

from collections.abc import Iterable
from difflib import get_close_matches


class FedbenchError(Exception):
    """A failure that is reported in one sentence; a command ends with `exit_code`."""

    exit_code = 1


class RequestError(FedbenchError):
    """A wrong request: an unknown name, a value out of range, parts that don't fit together (exit 2)."""

    exit_code = 2


class DataError(FedbenchError):
    """A dataset that is missing, damaged, or not what its name says (exit 1)."""


class RunError(FedbenchError):
    """A run that started and failed (exit 1)."""


def unknown(kind: str, name: str, available: Iterable[str], hint: str = "") -> RequestError:
    """The error for an unknown name, with close matches, all available names, and `hint`."""
    names = sorted(available)
    close = get_close_matches(name, names, n=3)
    guess = f" Did you mean {' or '.join(repr(c) for c in close)}?" if close else ""
    return RequestError(
        f"No {kind} named {name!r}.{guess} Available: {', '.join(names) or 'none'}.{hint and ' ' + hint}"
    )
