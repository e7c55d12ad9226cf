"""When Python collects garbage."""

import gc
import subprocess
import sys
from contextlib import suppress

import pytest

from fedbench_core.garbage import uncollected


@pytest.mark.parametrize("enabled", [True, False])
def test_collection_is_as_before_after_the_block(enabled) -> None:
    try:
        (gc.enable if enabled else gc.disable)()
        with suppress(KeyError), uncollected():
            inside = gc.isenabled()
            raise KeyError
        assert (inside, gc.isenabled()) == (False, enabled)
    finally:
        gc.enable()


WORKER = """
import gc

def found():
    return gc.isenabled(), gc.get_freeze_count() > 100_000

def begin(tell, number):
    return lambda task: found()
"""
COMMAND = """
from fedbench_core.cli.serving import serving
with serving():
    from fedbench_core.federation.executors.process_pool import ProcessPool
    from fedbench_core.federation.executors.scheduler import Scheduler
    import worker

    pool = ProcessPool(worker.begin, 1)
    [(_, of_worker)] = Scheduler(pool).run(["task"])
    pool.close()
    assert of_worker == worker.found() == (True, True), (of_worker, worker.found())
"""


@pytest.mark.slow
def test_imported_objects_are_not_looked_at_again_in_any_process(tmp_path) -> None:
    """All processes collect what they make themselves; nothing is reported as leaked when they end."""
    (tmp_path / "worker.py").write_text(WORKER)
    ended = subprocess.run([sys.executable, "-c", COMMAND], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
