import os
from collections.abc import Callable
from typing import Any

from fedbench_core.federation.executors.process_pool import ProcessPool
from fedbench_core.federation.executors.scheduler import LostError, Scheduler


def begin(_tell: Callable[[Any], None], number: int) -> Callable[[str], int]:
    """Answers with the worker's number, or ends the worker."""
    return lambda task: os._exit(3) if task == "end" else number


def test_worker_that_replaces_another_has_its_number() -> None:
    pool = ProcessPool(begin, workers=2)
    try:
        results = [value for _, value in Scheduler(pool, attempts=1).run(["a", "b", "end", "c", "d", "end", "e"])]
    finally:
        pool.close()
    assert [type(value) for value in (results[2], results[5])] == [LostError, LostError]
    assert {value for value in results if isinstance(value, int)} <= {0, 1}
