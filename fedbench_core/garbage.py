"""Python's collection of unreachable objects, which takes long where many objects are made and all are kept."""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Collect nothing in the block; afterwards as before."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def importing() -> Iterator[None]:
    """Collect nothing in the block, and what there is at its end only when the process ends.

    To look for garbage among all that torch and timm import takes half a second each time. Processes that are forked
    later don't look at it either, so that it stays in memory that they share.
    """
    with uncollected():
        yield
    gc.freeze()
    atexit.register(gc.unfreeze)  # libraries report what is never collected as a leak
