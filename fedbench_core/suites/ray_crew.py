"""Runs of a suite on a Ray cluster: side by side, each a task that is computed serially where there is room.

A run needs a node once, a turn would need it a thousand times. Such a run that was under way when this process ended
is begun anew. Where runs are so few that their turns keep more of the cluster busy, turns are spread instead.
"""

import json
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ray

from fedbench_core.api import FedbenchError, RunError, Splits
from fedbench_core.federation.executors.processes import ATTEMPTS
from fedbench_core.federation.executors.ray_cluster import Asked, Cluster, connected
from fedbench_core.federation.executors.ray_executor import Ref, portable_splits, put
from fedbench_core.federation.executors.ray_node import check_late, raw
from fedbench_core.federation.files import replace_file
from fedbench_core.federation.resolved import resolve
from fedbench_core.federation.spec import RunSpec
from fedbench_core.federation.store import Store
from fedbench_core.records.contents import versions
from fedbench_core.records.folder import claimed, folder_of, is_done
from fedbench_core.records.record import RECORD
from fedbench_core.runner import How, gpus, load, run
from fedbench_core.suites.crew import Job, Kind, News, ended_by

FILES = ("clients.csv", "messages.csv", RECORD)
"""What a run leaves; the record last, since its presence means that the run is done."""


@dataclass
class _Out:
    job: Job
    folder: Path
    arguments: tuple[Any, ...]
    tries: int = 1


def compute(jobs: Iterable[Job], how: How) -> Generator[News, None, None]:
    """Make the runs on the cluster that `how` names; news of each that ends. Close it, and what runs is ended."""
    waiting = deque(jobs)
    asked = Asked(how.ray_address, how.workers, max((gpus(how, job.spec) for job in waiting), default=0.0))
    needed = {name: version for job in waiting for name, version in versions(resolve(job.spec)).items()}
    with connected(asked, needed) as cluster:
        if len(waiting) < _turns_at_once(waiting, cluster.slots):
            yield from _by_turns(waiting, how)
            return
        crew = _Crew(cluster, needed)
        try:
            while waiting or crew.out:
                while waiting and len(crew.out) < cluster.ahead:
                    job = waiting.popleft()
                    news = crew.send(job)
                    if news is not None:
                        yield news
                yield from crew.hear()
                crew.forget({_images(job.spec) for job in waiting})
        finally:
            cluster.drop(crew.out)


def _turns_at_once(jobs: Iterable[Job], slots: int) -> int:
    """How many turns of one run the cluster has room for; of the run with the fewest in a round."""
    return min((slots, *(round(job.spec.clients * job.spec.fraction) for job in jobs)))


def _by_turns(jobs: Iterable[Job], how: How) -> Iterator[News]:
    """One run after the other, as `fedbench run` makes it on a cluster."""
    for job in jobs:
        spread = replace(how, out=job.how.out, fresh=job.how.fresh)
        try:
            yield News(job, "done", str(run(job.spec, spread).folder))
        except Exception as error:  # noqa: BLE001  # whatever it is, it ends this run only
            yield News(job, *ended_by(error))


class _Crew:
    """What is out, and the images that are in the object store for it."""

    def __init__(self, cluster: Cluster, needed: Mapping[str, str]) -> None:
        self.out: dict[Ref, _Out] = {}
        self._cluster = cluster
        self._needed = needed
        self._task = cluster.remote(make)
        self._splits: dict[str, Ref] = {}

    def send(self, job: Job) -> News | None:
        """Send a job; its news, if it ends here: it was finished before, or can't be begun."""
        try:
            setting = resolve(job.spec)
            folder = folder_of(setting.spec, job.how.out, fresh=job.how.fresh)
            if is_done(folder):
                return News(job, "done", str(run(job.spec, job.how).folder))
            key = _images(job.spec)
            if key not in self._splits:
                self._splits[key] = put(portable_splits(load(setting, job.how)))
        except FedbenchError as error:
            return News(job, *ended_by(error))
        self._start(_Out(job, folder, (job.spec, self._splits[key], self._needed)))
        return None

    def hear(self) -> list[News]:
        """Wait for the next that end; a run whose worker died is sent again."""
        ended = self._cluster.wait(self.out) if self.out else []
        return [news for ref in ended if (news := self._end(ref, self.out.pop(ref)))]

    def forget(self, needed: set[str]) -> None:
        """Let go of images that no run needs any more."""
        needed = needed | {_images(one.job.spec) for one in self.out.values()}
        self._splits = {key: ref for key, ref in self._splits.items() if key in needed}

    def _start(self, one: _Out) -> None:
        self.out[self._task.remote(*one.arguments)] = one

    def _end(self, ref: Ref, one: _Out) -> News | None:
        try:
            kind, text, files = ray.get(ref)
            if kind == "done":
                text = str(_deliver(one.folder, files))
        except ray.exceptions.RayTaskError as error:
            kind, text = ended_by(error.cause)
        except RunError as error:
            kind, text = "failed", str(error)
        except ray.exceptions.RayError as error:
            if one.tries < ATTEMPTS:
                one.tries += 1
                self._start(one)
                return None
            kind, text = "failed", f"Its worker died (out of memory?), {one.tries} times ({type(error).__name__})."
        return News(one.job, kind, text)


def make(spec: RunSpec, splits: Splits, needed: Mapping[str, str]) -> tuple[Kind, str, dict[str, Any]]:
    """One run, on a node: how it ended, what there is to say, and its files."""
    try:
        check_late(needed)
        with TemporaryDirectory(prefix="fedbench-") as out:
            how = How(out=Path(out), executor="serial", checkpoint_every=spec.rounds)
            folder = run(spec, how, splits=splits).folder
            return "done", "", {name: raw((folder / name).read_bytes()) for name in FILES}
    except FedbenchError as error:
        return *ended_by(error), {}


def _deliver(folder: Path, files: Mapping[str, Any]) -> Path:
    """Put a finished run where one computed here would lie; RunError if that can't be."""
    with claimed(folder):
        if (folder / "state").exists():
            Store(folder / "state").clear()
        for name in FILES:
            replace_file(folder / name, files[name].data, durable=True)
    return folder


def _images(spec: RunSpec) -> str:
    """What decides about a run's images, as one word."""
    options = {name: value for name, value in spec.set.items() if name.startswith("dataset.")}
    return json.dumps([spec.dataset, spec.image_size, spec.allow_unofficial, options], sort_keys=True, default=str)
