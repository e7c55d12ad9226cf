"""Whose fault it is: what goes wrong in a part ends the run with a sentence that names the part and its plugin."""

import inspect
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from fedbench_core.api import FedbenchError, RunError
from fedbench_core.registry import registry


class BlamedError(RunError):
    """A failure that says already whose fault it is."""


@contextmanager
def at(place: str) -> Iterator[None]:
    """What fails in the block is told with the place where it did: `client 1, round 3`."""
    try:
        yield
    except (FedbenchError, MemoryError) as error:
        raise RunError(f"{place}: {str(error) or 'out of memory'}") from error


@contextmanager
def blamed(kind: str, name: str, part: object, *, refuses: bool = False) -> Iterator[None]:
    """What fails in the block, or what `part` gives that it may not, is told with its name and its plugin.

    refuses: the part may say in fedbench's own errors that it cannot do what it is asked; they pass as they are.
    """
    try:
        yield
    except (BlamedError, MemoryError):
        raise
    except FedbenchError as error:
        if refuses and not isinstance(error, MisfitError):
            raise
        raise BlamedError(f"{label(kind, name)}: {error}") from error
    except (Exception, SystemExit) as error:
        what = f"{type(error).__name__}: {error}".removesuffix(": ")
        hint = f"`fedbench plugin check {name}` looks for the cause."
        raise BlamedError(f"{label(kind, name)} raised {what}{_place(error, part)}. {hint}") from error


class MisfitError(RunError):
    """What a part gave is not what the contract asks of it."""


def expect(thing: object, kind: type, what: str) -> None:
    """MisfitError unless `thing`, which is told as `what`, is of a type."""
    if not isinstance(thing, kind):
        raise MisfitError(f"{what} is of type {type(thing).__name__}; expected {kind.__name__}")


def label(kind: str, name: str) -> str:
    """A part and where it comes from: `compressor svd of fedbench-core 0.1.0`."""
    words = f"{kind.replace('_', ' ')} {name}"
    if name not in registry().names(kind):
        return words
    origin = registry().describe(kind, name)
    return f"{words} of {origin.distribution} {origin.version}"


def _place(error: BaseException, part: object) -> str:
    """The deepest line of the part's own file in a traceback."""
    try:
        file = inspect.getfile(type(part))
    except (TypeError, OSError):
        return ""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f" ({file}:{lines[-1]})" if lines else ""
