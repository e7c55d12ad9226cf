"""Runs computed side by side: each in a process of its own, forked from the server that has torch imported already.

A process per run, so that one which dies takes no other with it, leaves no memory behind, and is known by name.
"""

import json
import sys
from collections import deque
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Literal

from fedbench_core.api import FedbenchError, RequestError
from fedbench_core.federation.executors.preload import CONTEXT, quietly, start_server
from fedbench_core.federation.executors.start import settle
from fedbench_core.federation.progress import Event
from fedbench_core.federation.spec import RunSpec
from fedbench_core.runner import How, run

PRELOAD = "fedbench_core.suites.crew"
"""What the fork server imports for it."""

Kind = Literal["at", "said", "done", "refused", "failed"]
_BUSY = ("at", "said")


@dataclass(frozen=True)
class Job:
    """A run to be made; its number tells it from others."""

    number: int
    spec: RunSpec
    how: How


@dataclass(frozen=True)
class News:
    """What is received of a job.

    at: the part of its rounds that is done; said: a line; done: its folder; refused: why it can't be (RequestError);
    failed: why it ended.
    """

    job: Job
    kind: Kind
    text: str

    @property
    def final(self) -> bool:
        """Whether the job has ended."""
        return self.kind not in _BUSY


def ended_by(error: Exception) -> tuple[Kind, str]:
    """How a run ended that raised, and what is said of it."""
    if isinstance(error, FedbenchError):
        return "refused" if isinstance(error, RequestError) else "failed", str(error)
    return "failed", f"This should not happen: {type(error).__name__}: {error}".removesuffix(": ")


def compute(jobs: Iterable[Job], workers: int) -> Generator[News, None, None]:
    """Make the runs, `workers` at a time; news of all of them as it comes. Close it, and what runs is ended."""
    start_server(PRELOAD)
    waiting = deque(jobs)
    busy: dict[Connection, tuple[Job, BaseProcess]] = {}
    try:
        while waiting or busy:
            while waiting and len(busy) < workers:
                pipe, process = _start(waiting[0])
                busy[pipe] = waiting.popleft(), process
            ready = wait(list(busy))
            for pipe in [pipe for pipe in busy if pipe in ready]:
                news = _hear(pipe, *busy[pipe])
                if news.final:
                    del busy[pipe]
                yield news
    finally:
        for _, process in busy.values():
            process.kill()
            process.join()


def _start(job: Job) -> tuple[Connection, BaseProcess]:
    ours, theirs = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=_work, args=(job, theirs, list(sys.path)))
    with quietly():
        process.start()
    theirs.close()  # so that the pipe ends with the process
    return ours, process


def _hear(pipe: Connection, job: Job, process: BaseProcess) -> News:
    try:
        news = News(job, *json.loads(pipe.recv_bytes()))
    except (EOFError, OSError):  # nothing more, or the rest of a message does not come
        process.join()
        news = News(job, "failed", f"Its process ended with status {process.exitcode} (-9: out of memory?).")
    if news.final:
        process.join()
        pipe.close()
    return news


def _work(job: Job, pipe: Connection, path: list[str]) -> None:
    """One run, in a process of its own."""
    settle(path)

    def tell(kind: Kind, text: str) -> None:
        pipe.send_bytes(json.dumps([kind, text]).encode())

    def watch(event: Event) -> None:
        if event.point is not None or event.turns == event.expected:
            tell("at", str(event.done / event.rounds))

    try:
        tell("done", str(run(job.spec, job.how, watch, lambda line: tell("said", line)).folder))
    except Exception as error:  # noqa: BLE001  # whatever it is, it ends this run only
        tell(*ended_by(error))
