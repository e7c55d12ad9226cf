"""What the fork server imports, once, for all workers: start it early, and it is ready when the data are."""

import multiprocessing
from multiprocessing import forkserver

CONTEXT = multiprocessing.get_context("forkserver")


def start_server() -> None:
    """Start the fork server, in the background, unless it runs already."""
    CONTEXT.set_forkserver_preload(["fedbench_core.federation.executors.imports"])
    forkserver.ensure_running()
