"""What the fork server imports, once, for all workers: start it early, and it is ready when the data are."""

import multiprocessing
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from types import ModuleType

CONTEXT = multiprocessing.get_context("forkserver")


def start_server() -> None:
    """Start the fork server, in the background, unless it runs already."""
    CONTEXT.set_forkserver_preload(["fedbench_core.federation.executors.imports"])
    with without_main():
        forkserver.ensure_running()


@contextmanager
def without_main() -> Iterator[None]:
    """Processes that are started here don't import the caller's script again, which so needs no `__main__` guard."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
