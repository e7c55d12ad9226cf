"""Runs of a suite on a Ray cluster, each one task that is computed serially on some node.

A run sends its images once, its turns would a thousand times. Where runs are so few that their turns keep more of the
cluster busy, turns are the tasks instead. A run that was being computed when this process ended starts over.
"""

import json
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from fedbench_core.api import FedbenchError, Splits
from fedbench_core.federation.assembly import resolve
from fedbench_core.federation.executors.ray_cluster import (
    Ref,
    Request,
    check_own_versions,
    connected,
    portable_splits,
    put,
)
from fedbench_core.federation.executors.ray_pool import RayPool
from fedbench_core.federation.executors.scheduler import ATTEMPTS
from fedbench_core.federation.files import replace_file
from fedbench_core.federation.spec import RunSpec
from fedbench_core.federation.store import clear
from fedbench_core.records.contents import versions
from fedbench_core.records.folder import claimed, folder_of, is_done
from fedbench_core.records.record import RECORD, TABLES
from fedbench_core.runner import How, gpus, load, run
from fedbench_core.suites.jobs import Job, Kind, Report, end_of, reports

FILES = (*TABLES, RECORD)
"""The files of a finished run; the record last, because it marks the run as finished."""


def compute(jobs: Sequence[Job], how: How) -> Generator[Report, None, None]:
    """Compute the runs on the cluster that `how` names. Close the generator to stop them."""
    request = Request(how.ray_address, how.workers, max((gpus(how, job.spec) for job in jobs), default=0.0))
    needed = {name: version for job in jobs for name, version in versions(resolve(job.spec)).items()}
    with ExitStack() as stack:
        cluster = stack.enter_context(connected(request, needed))
        turns_at_once = min((cluster.slots, *(round(job.spec.clients * job.spec.fraction) for job in jobs)))
        if len(jobs) < turns_at_once:
            yield from _here(replace(job, how=replace(how, out=job.how.out, fresh=job.how.fresh)) for job in jobs)
            return
        yield from _here(job for job in jobs if is_done(_folder(job)))
        missing = sorted((job for job in jobs if not is_done(_folder(job))), key=_images)
        pool = RayPool(cluster, _compute, _Packer(needed).pack, _deliver, stack)
        yield from reports(missing, pool, ATTEMPTS)


def _here(jobs: Iterable[Job]) -> Iterator[Report]:
    """One run after the other, as `fedbench run` computes it."""
    for job in jobs:
        try:
            yield Report(job, "done", str(run(job.spec, job.how).folder))
        except Exception as error:  # noqa: BLE001  # it ends this run only
            yield Report(job, *end_of(error))


class _Packer:
    """Makes the arguments of a task; runs on the same images share them in the object store."""

    def __init__(self, needed: Mapping[str, str]) -> None:
        self._needed = needed
        self._put: tuple[str, Ref] = ("", None)

    def pack(self, job: Job) -> tuple[RunSpec, Ref, Mapping[str, str]]:
        """The spec, the images, which are kept for the next run, and the versions."""
        if self._put[0] != _images(job):
            self._put = (_images(job), put(portable_splits(load(resolve(job.spec), job.how))))
        return job.spec, self._put[1], self._needed


def _compute(spec: RunSpec, splits: Splits, needed: Mapping[str, str]) -> tuple[Kind, str, dict[str, Any]]:
    """One run on a node: how it ended, the text for it, and its files."""
    try:
        check_own_versions(needed)
        with TemporaryDirectory(prefix="fedbench-") as out:
            how = How(out=Path(out), executor="serial", checkpoint_every=spec.rounds)
            folder = run(spec, how, splits=splits).folder
            return "done", "", {name: np.fromfile(folder / name, np.uint8) for name in FILES}
    except FedbenchError as error:
        return *end_of(error), {}


def _deliver(job: Job, result: tuple[Kind, str, Mapping[str, Any]]) -> tuple[Kind, str]:
    """Put the files of a finished run where it would be computed here; RunError if that can't be."""
    kind, text, files = result
    folder = _folder(job)
    if kind != "done":
        return kind, text
    with claimed(folder):
        clear(folder / "state")
        for name in FILES:
            replace_file(folder / name, files[name].data, durable=True)
    return kind, str(folder)


def _folder(job: Job) -> Path:
    return folder_of(resolve(job.spec).spec, job.how.out, fresh=job.how.fresh)


def _images(job: Job) -> str:
    """Equal for runs on the same images."""
    spec = job.spec
    options = {name: value for name, value in spec.set.items() if name.startswith("dataset.")}
    return json.dumps([spec.dataset, spec.image_size, spec.allow_unofficial, options], sort_keys=True, default=str)
