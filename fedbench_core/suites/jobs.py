"""Runs side by side, each in a process of its own: one that dies stops no other and leaves no memory behind."""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal

from fedbench_core.api import FedbenchError, RequestError
from fedbench_core.federation.executors.fork_server import start_server
from fedbench_core.federation.executors.process_pool import ProcessPool
from fedbench_core.federation.executors.scheduler import LostError, News, Pool, Scheduler
from fedbench_core.federation.progress import Event
from fedbench_core.federation.spec import RunSpec
from fedbench_core.federation.torch_settings import default_workers, use_gpu
from fedbench_core.records.folder import InUseError
from fedbench_core.runner import How, run

_NEWS_SECONDS = 0.5
"""Between two reports of progress: turns may take milliseconds."""

Kind = Literal["progress", "line", "done", "busy", "refused", "failed"]


@dataclass(frozen=True)
class Job:
    """A run to compute."""

    number: int
    spec: RunSpec
    how: How


@dataclass(frozen=True)
class Report:
    """What is known of a job.

    progress: the fraction of its rounds that is done; line: what it prints; done: its folder; busy: another process
    computes it; refused: a RequestError; failed: another error.
    """

    job: Job
    kind: Kind
    text: str

    @property
    def final(self) -> bool:
        """Whether the job has ended."""
        return self.kind not in ("progress", "line")


def compute(jobs: Sequence[Job], workers: int | None) -> Generator[Report, None, None]:
    """Compute the runs, `workers` at a time or by `default_workers`. Close the generator to stop them."""
    workers = workers or min(default_workers(job.spec.device) for job in jobs)
    start_server("fedbench_core.suites.imported")
    pool = ProcessPool(_begin, min(workers, len(jobs)), reuse=False)
    return reports(jobs, pool, attempts=1)


def reports(jobs: Sequence[Job], pool: Pool, attempts: int) -> Generator[Report, None, None]:
    """Compute the runs in a pool, whose workers return `(kind, text)`."""
    with closing(pool):
        for job, value in Scheduler(pool, attempts=attempts, in_order=False).run(jobs):
            yield Report(job, *(value.value if isinstance(value, News) else end_of(value)))


def end_of(value: Any) -> tuple[Kind, str]:
    """How a run ended that returned or raised this."""
    if not isinstance(value, Exception):
        kind, text = value
        return kind, text
    if isinstance(value, LostError):
        return "failed", f"{str(value)[:1].upper()}{str(value)[1:]}."
    if isinstance(value, InUseError):
        return "busy", str(value)
    if isinstance(value, FedbenchError):
        return "refused" if isinstance(value, RequestError) else "failed", str(value)
    return "failed", f"This should not happen: {type(value).__name__}: {value}".removesuffix(": ")


def _begin(tell: Callable[[Any], None], number: int) -> Callable[[Job], tuple[Kind, str]]:
    told = 0.0

    def watch(event: Event) -> None:
        nonlocal told
        if event.turns and time.monotonic() > told + _NEWS_SECONDS:
            told = time.monotonic()
            tell(("progress", str(event.rounds_done / event.rounds)))

    def compute_one(job: Job) -> tuple[Kind, str]:
        tell(("progress", "0"))
        try:
            use_gpu(job.spec, number)
            return "done", str(run(job.spec, job.how, watch, lambda line: tell(("line", line))).folder)
        except Exception as error:  # noqa: BLE001  # it ends this run only
            return end_of(error)

    return compute_one
