import os
import time
from collections.abc import Callable
from typing import Any

from fedbench_core.federation.executors.process_pool import ProcessPool
from fedbench_core.federation.executors.scheduler import LostError, Scheduler


def begin(_tell: Callable[[Any], None], number: int) -> Callable[[str], int]:
    """Answers with the worker's number, or ends or hangs the worker."""
    ends: dict[str, Callable[[], None]] = {"end": lambda: os._exit(3), "hang": lambda: time.sleep(600)}

    def answer(task: str) -> int:
        ends.get(task, lambda: None)()
        return number

    return answer


def test_worker_that_replaces_another_has_its_number() -> None:
    pool = ProcessPool(begin, workers=2)
    try:
        results = [value for _, value in Scheduler(pool, attempts=1).run(["a", "b", "end", "c", "d", "end", "e"])]
    finally:
        pool.close()
    assert [type(value) for value in (results[2], results[5])] == [LostError, LostError]
    assert {value for value in results if isinstance(value, int)} <= {0, 1}


def test_worker_that_exceeds_its_time_is_lost_with_its_task() -> None:
    pool = ProcessPool(begin, workers=2, limit=0.5)
    try:
        results = [value for _, value in Scheduler(pool, attempts=1).run(["hang", "hang", "hang"])]
    finally:
        pool.close()
    assert [(type(value), str(value)) for value in results] == [
        (LostError, "no answer within --client-timeout 0.5 s")
    ] * 3
