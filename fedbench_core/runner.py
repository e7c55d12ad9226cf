"""One run from its spec to its record, started or resumed."""

import os
import platform
import resource
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from fedbench_core.api import DataRequest, RequestError, RunError, Splits
from fedbench_core.api.folders import default_cache
from fedbench_core.federation.assembly import assemble, resolve
from fedbench_core.federation.checks import check
from fedbench_core.federation.costs import Probe
from fedbench_core.federation.engine import Engine
from fedbench_core.federation.executors import Executor
from fedbench_core.federation.executors.processes import processes
from fedbench_core.federation.executors.serial import Serial
from fedbench_core.federation.files import files_named
from fedbench_core.federation.keeper import Keep
from fedbench_core.federation.partition import Partition, load_public, make_partition
from fedbench_core.federation.partition import load as load_splits
from fedbench_core.federation.progress import Event, Progress, Watch
from fedbench_core.federation.resolved import ResolvedRun
from fedbench_core.federation.spec import RunSpec
from fedbench_core.federation.store import Store, clear, read_journal, was_begun
from fedbench_core.federation.torch_settings import bf16_note, default_workers, torch_set_up
from fedbench_core.federation.worker import Worker
from fedbench_core.records.contents import build, versions
from fedbench_core.records.differences import differences
from fedbench_core.records.folder import claimed, folder_of, is_done
from fedbench_core.records.kept_models import check_models_folder, write_models
from fedbench_core.records.record import RECORD, check_table, read_record, write_record
from fedbench_core.registry import registry

Say = Callable[[str], None]


@dataclass(frozen=True)
class How:
    """How a run is computed: nothing that its numbers depend on.

    base: the folder of a relative npz:PATH or folder:PATH. workers: processes, None for all cores. fresh: run again
    what is recorded, in a new folder. wait: for another process that computes the same run, instead of an error.
    checkpoint_every: rounds between commits; at most this many are repeated after a crash. client_timeout: seconds per
    turn. ray_address: HOST:PORT or "auto", None for a cluster on this machine; gpus_per_client: the fraction of a GPU
    that a turn takes there, a whole one by default. keep: whether models stay in the run folder; None is as a resumed
    run was started, or else "auto", which keeps those of up to 128 MB together.
    """

    out: Path = Path("runs")
    base: Path = Path()
    data_root: Path | None = None
    cache: Path = field(default_factory=default_cache)
    executor: Literal["serial", "processes", "ray"] = "processes"
    workers: int | None = None
    checkpoint_every: int = 1
    client_timeout: float | None = None
    ray_address: str | None = None
    gpus_per_client: float | None = None
    fresh: bool = False
    wait: bool = False
    keep: Keep | None = None

    def request(self, spec: RunSpec, say: Say | None = None) -> DataRequest:
        """Where the images of `spec` may be looked for."""
        request = DataRequest(self.cache, self.data_root, self.base, spec.image_size, spec.allow_unofficial)
        return request if say is None else replace(request, say=say)


@dataclass(frozen=True)
class Finished:
    """A finished run: its folder, its record, and whether it had been finished before."""

    folder: Path
    record: dict[str, Any]
    before: bool = False

    @property
    def clients(self) -> pd.DataFrame:
        """`clients.csv`: a row per client, round and phase."""
        return self._table("clients.csv")

    @property
    def messages(self) -> pd.DataFrame:
        """`messages.csv`: a row per message, with its bytes."""
        return self._table("messages.csv")

    def _table(self, name: str) -> pd.DataFrame:
        check_table(self.folder / name, self.record)
        return pd.read_csv(self.folder / name)


def _ignore(_news: object) -> None:
    """Ignore events."""


@files_named()
def run(
    spec: RunSpec, how: How | None = None, watch: Watch = _ignore, say: Say = _ignore, splits: Splits | None = None
) -> Finished:
    """Run `spec` and record it; an interrupted run is resumed, a recorded one is only read.

    watch: called after each turn and round; say: called with a line about what takes long before the first round;
    splits: the images, if they are loaded already.
    RequestError before anything is written if the spec can't run, RunError if the run fails.
    """
    how = how or How()
    check_how(how, [spec])
    resolved, loaded = resolve_with_sites(spec, how, say, splits)
    folder = folder_of(resolved.spec, how.out, fresh=how.fresh)
    return _run(resolved, folder, how, watch, say, loaded)


@files_named()
def resume(folder: Path, how: How | None = None, watch: Watch = _ignore, say: Say = _ignore) -> Finished:
    """Resume the run in `folder`; RequestError if none was started there."""
    how = how or How()
    if is_done(folder):
        return _finished(folder)
    journal = read_journal(folder / "state")
    with _well_formed():
        how = replace(how, base=Path(journal["base"]), data_root=how.data_root or _path(journal["data_root"]))
        how = replace(how, keep=how.keep or journal.get("keep"))
        spec = RunSpec.of(journal["spec"])
    check_how(how, [spec])
    return _run(resolve(spec), folder, how, watch, say)


def check_how(how: How, specs: Iterable[RunSpec]) -> None:
    """RequestError for options that exclude each other, or a cluster that does not answer, before anything is read."""
    if how.executor == "serial" and how.client_timeout is not None:
        raise RequestError("--client-timeout ends a worker's process; the serial executor has none. Leave one out.")
    if how.executor == "ray":
        _check_ray(how, specs)
        return
    for name in ("ray_address", "gpus_per_client"):
        if getattr(how, name) is not None:
            raise RequestError(
                f"--{name.replace('_', '-')} is about a Ray cluster. Add --executor ray, or leave it out."
            )


def _check_ray(how: How, specs: Iterable[RunSpec]) -> None:
    if find_spec("ray") is None:
        raise RequestError("--executor ray needs Ray, which is not installed: pip install 'fedbench-core[ray]'")
    if how.gpus_per_client and how.gpus_per_client > 1 and how.gpus_per_client % 1:
        raise RequestError(f"--gpus-per-client {how.gpus_per_client:g}: expected a part of one GPU, or a whole number.")
    for device in {spec.device for spec in specs}:
        if device.partition(":")[2]:
            raise RequestError(f"--device {device}: a Ray cluster chooses the GPU for each turn. Use --device cuda.")
        if how.gpus_per_client and device == "cpu":
            raise RequestError("--gpus-per-client is for runs with --device cuda. Add that, or leave it out.")
    if how.ray_address is not None:
        from fedbench_core.federation.executors.ray_address import check_address  # noqa: PLC0415  # as `_on_ray`

        check_address(how.ray_address)


def resolve_with_sites(
    spec: RunSpec, how: How, say: Say | None = None, splits: Splits | None = None
) -> tuple[ResolvedRun, Splits | None]:
    """As `resolve`, with a client per site where the spec leaves their number to a partitioner by sites.

    splits: the images, if they are loaded already. Also gives the images, if they were loaded for that or before.
    """
    run = assemble(spec)
    if run.partitioner.by == "sites" and "clients" not in spec.model_fields_set:
        splits = splits or load(run, how, say)
        clients = len(np.unique(splits.sites.get("train", ())))
        if clients:
            run = replace(run, spec=run.spec.model_copy(update={"clients": clients}))
    check(run)
    return run, splits


def load(run: ResolvedRun, how: How, say: Say | None = None) -> Splits:
    """The images of a run."""
    return load_splits(run, how.request(run.spec, say))


def partition_of(run: ResolvedRun, how: How, say: Say | None = None, splits: Splits | None = None) -> Partition:
    """Which client of a run holds which images, and the public images."""
    splits = splits or load(run, how, say)
    return make_partition(run, splits, load_public(run, how.request(run.spec, say), splits))


def _run(run: ResolvedRun, folder: Path, how: How, watch: Watch, say: Say, splits: Splits | None = None) -> Finished:
    if note := bf16_note(run.spec):
        say(note)
    with claimed(folder, wait=how.wait):
        watch(_stage(run, folder, f"loading {run.spec.dataset}"))
        splits = splits or load(run, how, say)
        partition = partition_of(run, how, say, splits)
        if is_done(folder):
            return _same(_finished(folder), run, partition)
        with torch_set_up(run.spec):  # aggregation and encoding in this process must give a worker's bits
            return Finished(folder, _compute(run, partition, folder, how, watch))


def _compute(run: ResolvedRun, partition: Partition, folder: Path, how: How, watch: Watch) -> dict[str, Any]:
    """Check, train and record; the record."""
    watch(_stage(run, folder, f"building {', '.join(dict.fromkeys(run.backbones))}"))
    probe = Probe(run, partition)
    notes = [*probe.check(), *_period_note(run)]
    store = Store(folder / "state")
    check_models_folder(folder, run)
    try:
        progress, test, made = _train(run, partition, store, folder, how, watch)
        record = build(run, partition, progress, test, probe, notes, made)
        write_models(folder, store, progress, run, partition)
        write_record(folder / RECORD, record)
    except KeyboardInterrupt:
        command = f"fedbench resume {folder}" if was_begun(folder / "state") else "the same command"
        raise KeyboardInterrupt(f"Continue with: {command}") from None
    store.clear()
    return record


def _finished(folder: Path) -> Finished:
    """A run that was finished before; state that a kill after its record left behind is removed."""
    record = read_record(folder)
    clear(folder / "state")
    return Finished(folder, record, before=True)


def _same(finished: Finished, run: ResolvedRun, partition: Partition) -> Finished:
    """A finished run, if running it now would use the same data and versions; RequestError names what differs."""
    data = finished.record["data"]
    before = {"data": data["digest"], "public": (data["public"] or {}).get("digest"), **finished.record["versions"]}
    changed = list(map(str, differences(before, {**_digests(partition), **versions(run)})))
    if changed:
        raise RequestError(
            f"{finished.folder} was recorded with {'; '.join(changed)}. Use --fresh to run it again, or "
            f"`fedbench resume {finished.folder}` to see what was recorded."
        )
    return finished


def _digests(partition: Partition) -> dict[str, str | None]:
    """The digests of the images."""
    return {"data": partition.splits.digest, "public": partition.public_source[1] if partition.public else None}


def _period_note(run: ResolvedRun) -> Iterator[str]:
    """A note on a run that ends before the first whole period."""
    if run.period != run.declared_period:
        yield (
            f"Scores are of the last round only: the schedule repeats every {run.declared_period} rounds, and means "
            f"over a whole period need as many. The run has {run.spec.rounds}."
        )


def _train(
    run: ResolvedRun, partition: Partition, store: Store, folder: Path, how: How, watch: Watch
) -> tuple[Progress, dict[str, Any], dict[str, Any]]:
    """Run the federation from its last commit to its end; its progress, test evaluation, and how it was computed."""
    started, clock = datetime.now(UTC), time.perf_counter()
    stamp = _stamp(run, partition, how)
    progress = _progress(stamp, store)
    executor = _executor(run, partition, folder / "state", how)
    workers = f"{executor.workers} workers" if executor.workers > 1 else "1 worker"
    watch(_stage(run, folder, f"training on {workers}"))
    try:
        engine = Engine(run, partition, executor, store, folder, progress, stamp, how.keep or "auto")
        test = engine.run(watch, how.checkpoint_every)
    finally:
        executor.close()
    made = {
        **_machine(run, how, executor.workers),
        "started": started.isoformat(),
        "seconds": time.perf_counter() - clock,
        "aggregation_seconds": progress.totals.aggregation_seconds,
    }
    return progress, test, made


def _stage(run: ResolvedRun, folder: Path, stage: str) -> Event:
    """An event before the first turn."""
    return Event(folder, 0, run.spec.rounds, 0, 0, 0, 0, stage=stage)


def _executor(run: ResolvedRun, partition: Partition, folder: Path, how: How) -> Executor:
    if how.executor == "serial":
        return Serial(Worker(run, partition))
    if how.executor == "ray":
        return _on_ray(run, partition, how)
    workers = how.workers or default_workers(run.spec.device)
    return processes(run, how.request(run.spec), partition, workers, folder, how.client_timeout)


def _on_ray(run: ResolvedRun, partition: Partition, how: How) -> Executor:
    from fedbench_core.federation.executors.ray_calls import WorkerSource, on_ray  # noqa: PLC0415  # as above
    from fedbench_core.federation.executors.ray_cluster import Request  # noqa: PLC0415  # Ray is imported on request only

    request = Request(how.ray_address, how.workers, gpus(how, run.spec))
    return on_ray(run, WorkerSource(run.spec, partition, versions(run), how.client_timeout), request)


def gpus(how: How, spec: RunSpec) -> float:
    """The fraction of a GPU that a client's turn takes: none on a CPU, a whole one by default."""
    return 0.0 if spec.device == "cpu" else how.gpus_per_client or 1.0


def _stamp(run: ResolvedRun, partition: Partition, how: How) -> dict[str, Any]:
    """What a journal holds besides state and progress."""
    root = None if how.data_root is None else str(how.data_root.resolve())
    where = {"data_root": root, "base": str(how.base.resolve()), "keep": how.keep}
    spec = run.spec.model_dump(mode="json")
    return {"spec": spec, "versions": versions(run), "data": _digests(partition), **where}


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def _progress(stamp: Mapping[str, Any], store: Store) -> Progress:
    """The progress of the last commit; RunError if it is of another run, or of other data or versions."""
    journal = store.resume()
    if journal is None:
        return Progress()
    with _well_formed():
        compared = ("spec", "versions", "data")
        changed = [str(difference) for name in compared for difference in differences(journal[name], stamp[name])]
        if changed:
            raise RunError(
                f"This run can't be resumed, because it was started with {'; '.join(changed)}. "
                "Restore that, or start over with --fresh."
            )
        return Progress.from_json(journal["progress"])


@contextmanager
def _well_formed() -> Iterator[None]:
    """RunError for a journal with other contents than this version writes."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(
            f"This run can't be resumed: its journal is not of this version ({type(error).__name__}: {error}). "
            "Start over with --fresh."
        ) from error


def _machine(run: ResolvedRun, how: How, workers: int) -> dict[str, Any]:
    """The machine; on a cluster, the one of this process."""
    own, child = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {
        "data_root": None if how.data_root is None else str(how.data_root),
        "executor": how.executor,
        "workers": workers,
        "peak_memory_bytes": 1024 * (own + (workers * child if how.executor == "processes" else 0)),
        "machine": platform.platform(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "device": run.spec.device,
        "plugins": {f"{plugin.distribution} {plugin.version}": plugin.problems for plugin in registry().plugins()},
    }
