"""What can go wrong, by who can mend it: the exit status follows from the class."""

from collections.abc import Iterable
from difflib import get_close_matches


class FedbenchError(Exception):
    """A failure that a user is told in one sentence; ends a command with `exit_code`."""

    exit_code = 1


class RequestError(FedbenchError):
    """What was asked for cannot be: an unknown name, a value out of range, parts that don't fit (exit 2)."""

    exit_code = 2


class DataError(FedbenchError):
    """A dataset that is missing, damaged, or not what its name says (exit 1)."""


class RunError(FedbenchError):
    """A run that started and failed (exit 1)."""


def unknown(kind: str, name: str, available: Iterable[str], hint: str = "") -> RequestError:
    """The error for a name that nothing answers to: close matches, then everything there is, then `hint`."""
    names = sorted(available)
    close = get_close_matches(name, names, n=3)
    guess = f" Did you mean {' or '.join(repr(c) for c in close)}?" if close else ""
    return RequestError(
        f"No {kind} named {name!r}.{guess} Available: {', '.join(names) or 'none'}.{hint and ' ' + hint}"
    )
