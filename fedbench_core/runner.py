"""One run from its spec to its record, begun or taken up again."""

import os
import platform
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from fedbench_core.api import DataRequest, RequestError, RunError, Splits
from fedbench_core.data import default_cache
from fedbench_core.federation.blame import label
from fedbench_core.federation.costs import Probe
from fedbench_core.federation.engine import Engine, Event, Progress
from fedbench_core.federation.executors import Executor
from fedbench_core.federation.executors.processes import ATTEMPTS, Processes, StateLostError
from fedbench_core.federation.executors.serial import Serial
from fedbench_core.federation.executors.start import Start
from fedbench_core.federation.partition import Partition, deal
from fedbench_core.federation.partition import load as load_splits
from fedbench_core.federation.resolved import ResolvedRun, resolve
from fedbench_core.federation.spec import RunSpec
from fedbench_core.federation.store import Store, read_journal, was_begun
from fedbench_core.federation.worker import Worker
from fedbench_core.records.contents import build, versions
from fedbench_core.records.differences import differences
from fedbench_core.records.folder import claimed, folder_of, is_done
from fedbench_core.records.record import RECORD, read_record, write_record

Watch = Callable[[Event], None]
Say = Callable[[str], None]


@dataclass(frozen=True)
class How:
    """What may differ between equal runs: where and with what they are computed.

    base: what a relative npz:PATH starts from. workers: processes, None for all cores. fresh: run again what is
    recorded already, into a folder of its own. checkpoint_every: rounds between commits, at most so many are redone.
    client_timeout: seconds. ray_address: HOST:PORT or "auto", None for a cluster on this machine; gpus_per_client: how
    much of a GPU a turn takes there, a whole one if nothing is given.
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
    def turns(self) -> pd.DataFrame:
        """`clients.csv`: a row per turn."""
        return pd.read_csv(self.folder / "clients.csv")

    @property
    def messages(self) -> pd.DataFrame:
        """`messages.csv`: a row per message, with its bytes."""
        return pd.read_csv(self.folder / "messages.csv")


def _ignore(_news: object) -> None:
    """Watch nothing."""


def run(
    spec: RunSpec, how: How | None = None, watch: Watch = _ignore, say: Say = _ignore, splits: Splits | None = None
) -> Finished:
    """Run `spec` and record it; one that was interrupted goes on, one that is recorded is only read.

    watch: told after each turn and round; say: told what takes long before the first round; splits: its images, where
    they are at hand.
    Raises RequestError before anything is written if the spec cannot run, RunError if it fails.
    """
    how = how or How()
    check_how(how, [spec])
    setting = resolve(spec)
    folder = folder_of(setting.spec, how.out, fresh=how.fresh)
    return _run(setting, folder, how, watch, say, splits)


def resume(folder: Path, how: How | None = None, watch: Watch = _ignore, say: Say = _ignore) -> Finished:
    """Go on with the run in `folder`; RequestError if none was begun there."""
    how = how or How()
    if is_done(folder):
        return _finished(folder)
    journal = read_journal(folder / "state")
    how = replace(how, base=Path(journal["base"]), data_root=how.data_root or _path(journal["data_root"]))
    spec = RunSpec.of(journal["spec"])
    check_how(how, [spec])
    return _run(resolve(spec), folder, how, watch, say)


def check_how(how: How, specs: Iterable[RunSpec]) -> None:
    """RequestError for what does not go together, or a cluster that does not answer, before anything is read."""
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
        from fedbench_core.federation.executors.ray_address import answering  # noqa: PLC0415  # as `_on_ray`

        answering(how.ray_address)


def load(setting: ResolvedRun, how: How, say: Say | None = None) -> Splits:
    """The images of a run."""
    return load_splits(setting, how.request(setting.spec, say))


def _run(
    setting: ResolvedRun, folder: Path, how: How, watch: Watch, say: Say, splits: Splits | None = None
) -> Finished:
    with claimed(folder):
        splits = splits or load(setting, how, say)
        if is_done(folder):
            return _same(_finished(folder), setting, splits)
        shares = deal(setting, splits)
        probe = Probe(setting, shares)
        notes = probe.check()
        try:
            engine, test, made = _train(setting, shares, folder, how, watch)
            record = build(setting, shares, engine.progress, test, probe, notes, made)
            write_record(folder / RECORD, record)
        except KeyboardInterrupt:
            go_on = f"fedbench resume {folder}" if was_begun(folder / "state") else "the same command"
            raise KeyboardInterrupt(f"Go on with: {go_on}") from None
        engine.store.clear()
    return Finished(folder, record)


def _finished(folder: Path) -> Finished:
    """A run that was finished before; what a kill right behind its record left is removed."""
    record = read_record(folder)
    if (folder / "state").exists():
        Store(folder / "state").clear()
    return Finished(folder, record, before=True)


def _same(finished: Finished, setting: ResolvedRun, splits: Splits) -> Finished:
    """A finished run, if it is what would be run now; RequestError says what differs."""
    before = {"data": finished.record["data"]["digest"], **finished.record["versions"]}
    told = list(map(str, differences(before, {"data": splits.digest, **versions(setting)})))
    if told:
        raise RequestError(
            f"{finished.folder} was recorded with {'; '.join(told)}. Use --fresh to run it again, or "
            f"`fedbench resume {finished.folder}` to see what was recorded."
        )
    return finished


def _train(
    setting: ResolvedRun, shares: Partition, folder: Path, how: How, watch: Watch
) -> tuple[Engine, dict[str, Any], dict[str, Any]]:
    """The federation, from its last commit to its end; and what is to be told of how it was computed."""
    started, clock = datetime.now(UTC), time.perf_counter()
    lost: Counter[int] = Counter()
    stamp = _stamp(setting, shares, how)
    while True:
        store = Store(folder / "state")
        engine = Engine(setting, shares, store, folder, _progress(stamp, store), stamp)
        executor = _executor(setting, shares, folder / "state", how, careful=bool(lost))
        try:
            test = engine.run(executor, watch, how.checkpoint_every)
        except StateLostError:
            lost[engine.progress.round] += 1
            if lost[engine.progress.round] >= ATTEMPTS:
                raise
        else:
            break
        finally:
            executor.close()
    seconds = time.perf_counter() - clock
    return (
        engine,
        test,
        {**_machine(setting, how, executor.workers), "started": started.isoformat(), "seconds": seconds},
    )


def _executor(setting: ResolvedRun, shares: Partition, folder: Path, how: How, *, careful: bool) -> Executor:
    if how.executor == "serial":
        return Serial(Worker(setting, shares))
    whose = label("local_update", setting.method.local_update)
    if how.executor == "ray":
        return _on_ray(setting, shares, how, whose)
    start = Start(setting.spec, how.request(setting.spec))
    return Processes(
        start, how.workers or os.cpu_count() or 1, folder, how.client_timeout, careful=careful, whose=whose
    )


def _on_ray(setting: ResolvedRun, shares: Partition, how: How, whose: str) -> Executor:
    from fedbench_core.federation.executors.ray_cluster import Asked  # noqa: PLC0415  # Ray: only for who asks for it
    from fedbench_core.federation.executors.ray_executor import RayExecutor  # noqa: PLC0415  # as above
    from fedbench_core.federation.executors.ray_node import Begin  # noqa: PLC0415  # as above

    asked = Asked(how.ray_address, how.workers, gpus(how, setting.spec))
    return RayExecutor(Begin(setting.spec, shares, versions(setting), how.client_timeout), asked, whose)


def gpus(how: How, spec: RunSpec) -> float:
    """How much of a GPU a turn takes: none on a CPU, a whole one unless the request says otherwise."""
    return 0.0 if spec.device == "cpu" else how.gpus_per_client or 1.0


def _stamp(setting: ResolvedRun, shares: Partition, how: How) -> dict[str, Any]:
    """What a journal says besides the state."""
    root = None if how.data_root is None else str(how.data_root.resolve())
    where = {"data_root": root, "base": str(how.base.resolve())}
    spec = setting.spec.model_dump(mode="json")
    return {"spec": spec, "versions": versions(setting), "data": {"data": shares.splits.digest}, **where}


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def _progress(stamp: Mapping[str, Any], store: Store) -> Progress:
    """Where the run left off; RunError if it was another run's, or with other data or versions."""
    journal = store.resume()
    if journal is None:
        return Progress()
    compared = ("spec", "versions", "data")
    told = [str(difference) for name in compared for difference in differences(journal[name], stamp[name])]
    if told:
        raise RunError(
            f"This run can't be resumed, because it was begun with {'; '.join(told)}. "
            "Bring that back, or start over with --fresh."
        )
    return Progress(**journal["progress"])


def _machine(setting: ResolvedRun, how: How, workers: int) -> dict[str, Any]:
    """The machine; on a cluster that of the driver, and nothing of the others' memory, which nobody asked."""
    own, child = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {
        "data_root": None if how.data_root is None else str(how.data_root),
        "executor": how.executor,
        "workers": workers,
        "peak_memory_bytes": 1024 * (own + (workers * child if how.executor == "processes" else 0)),
        "machine": platform.platform(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "device": setting.spec.device,
    }
