"""Errors of parts: they end the run with a sentence that names the part and its plugin."""

import inspect
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from fedbench_core.api import FedbenchError, RunError
from fedbench_core.registry import registry
from fedbench_core.registry.process_settings import SETTINGS, restored_settings

OUT_OF_MEMORY = (MemoryError, torch.cuda.OutOfMemoryError)
"""Of this machine, and of a GPU."""


class BlamedError(RunError):
    """A failure whose message names the part already."""


@contextmanager
def at(place: str) -> Iterator[None]:
    """Prefix errors in the block with where they happened: `client 1, round 3`."""
    try:
        yield
    except (FedbenchError, MemoryError) as error:
        raise RunError(f"{place}: {str(error) or 'out of memory'}") from error


@contextmanager
def blamed(kind: str, name: str, part: object, *, refuses: bool = False) -> Iterator[None]:
    """Prefix errors in the block with the name of a part and its plugin.

    refuses: the part may raise a RequestError or DataError, which passes unchanged. A setting of the process that the
    block changes is restored, and is an error: how many calls it affects would depend on the number of workers.
    """
    try:
        with restored_settings(SETTINGS) as changes:
            yield
        _check_unchanged(changes)
    except (BlamedError, *OUT_OF_MEMORY):
        raise
    except FedbenchError as error:
        if refuses and not isinstance(error, MisfitError):
            raise
        raise BlamedError(f"{label(kind, name)}: {error}") from error
    except (Exception, SystemExit) as error:
        what = f"{type(error).__name__}: {error}".removesuffix(": ")
        hint = f"`fedbench plugin check {name}` helps to find the cause."
        raise BlamedError(f"{label(kind, name)} raised {what}{_place(error, part)}. {hint}") from error


@contextmanager
def enough_memory(what: str, batch_size: int) -> Iterator[None]:
    """RunError that names `what` is computed, and what needs less, if this machine or a GPU runs out of memory."""
    try:
        yield
    except OUT_OF_MEMORY as error:
        asked = f" ({str(error).partition('. GPU')[0]})" if str(error) else ""
        raise RunError(
            f"there is not enough memory for {what} with --batch-size {batch_size}{asked}. Use a smaller --batch-size "
            "or --image-size, --precision bf16, or fewer --workers."
        ) from error


class MisfitError(RunError):
    """A part returned something that the contract does not allow."""


def expect(thing: object, kind: type, what: str) -> None:
    """MisfitError unless `thing`, described by `what`, has the type `kind`."""
    if not isinstance(thing, kind):
        raise MisfitError(f"{what} is of type {type(thing).__name__}; expected {kind.__name__}")


def _check_unchanged(changes: Sequence[str]) -> None:
    if changes:
        raise MisfitError(f"it changed {'; '.join(changes)}, which affects every method. Put it back at the end.")


def label(kind: str, name: str) -> str:
    """A part and its distribution: `compressor svd of fedbench-core 0.1.0`."""
    words = f"{kind.replace('_', ' ')} {name}"
    if name not in registry().names(kind):
        return words
    origin = registry().describe(kind, name)
    return f"{words} of {origin.distribution} {origin.version}"


def _place(error: BaseException, part: object) -> str:
    """The deepest line of the part's own file in the traceback."""
    try:
        file = inspect.getfile(type(part))
    except (TypeError, OSError):
        return ""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f" ({file}:{lines[-1]})" if lines else ""
