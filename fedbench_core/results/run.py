"""One run from its spec to its record."""

import os
import platform
import re
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fedbench_core.api import DataRequest, RunError, Splits
from fedbench_core.data import default_cache
from fedbench_core.federation.costs import Probe
from fedbench_core.federation.engine import Engine, Event, Progress
from fedbench_core.federation.executors.serial import Serial
from fedbench_core.federation.setting import Setting, resolve
from fedbench_core.federation.shares import deal
from fedbench_core.federation.spec import RunSpec
from fedbench_core.federation.store import Store
from fedbench_core.federation.worker import Worker
from fedbench_core.results.record import RECORD, build, read_record, write_record

Watch = Callable[[Event], None]


@dataclass(frozen=True)
class How:
    """What may differ between equal runs: where and with what they are computed."""

    out: Path = Path("runs")
    data_root: Path | None = None
    cache: Path = field(default_factory=default_cache)
    fresh: bool = False
    """Run again what is already recorded, into a folder of its own."""


@dataclass(frozen=True)
class Finished:
    """A finished run: its folder, its record, and whether it had been finished before."""

    folder: Path
    record: dict[str, Any]
    before: bool = False


def run(
    spec: RunSpec,
    how: How | None = None,
    watch: Watch = lambda _event: None,
    say: Callable[[str], None] = lambda _: None,
) -> Finished:
    """Run `spec` and record it; a run that is recorded already is read and not run again.

    watch: told after each visit and round; say: told what takes long before the first round.
    Raises RequestError before anything is written if the spec cannot run, RunError if it fails.
    """
    how = how or How()
    setting = resolve(spec)
    folder = _folder(setting, how)
    if (folder / RECORD).exists():
        return Finished(folder, read_record(folder), before=True)
    shares = deal(setting, load(setting, how, say))
    probe = Probe(setting, shares)
    notes = probe.inspect()
    started, clock = datetime.now(UTC), time.perf_counter()
    with _claimed(folder):
        executor = Serial(Worker(setting, shares), setting.spec.threads)
        try:
            store = Store(folder / "state")
            engine = Engine(setting, shares, executor, folder, store, Progress())
            test = engine.run(watch)
        finally:
            executor.close()
        made = {**_machine(how), "started": started.isoformat(), "seconds": time.perf_counter() - clock}
        record = build(setting, shares, engine.progress, test, probe, notes, made)
        write_record(folder, record)
        store.clear()
    return Finished(folder, record)


def load(setting: Setting, how: How, say: Callable[[str], None] = lambda _: None) -> Splits:
    """The images of a run."""
    spec = setting.spec
    return setting.dataset.load(
        DataRequest(
            cache=how.cache,
            root=how.data_root,
            image_size=spec.image_size,
            allow_unofficial=spec.allow_unofficial,
            say=say,
        )
    )


def _folder(setting: Setting, how: How) -> Path:
    """The folder of a spec, so that the same command finds its run again; `--fresh` counts on from it."""
    spec = setting.spec
    dataset = re.sub(r"\W+", "-", Path(spec.dataset).stem if ":" in spec.dataset else spec.dataset)
    name = f"{spec.method}-{dataset}-s{spec.seed}-{spec.digest[:8]}"
    folder, number = how.out / name, 1
    while how.fresh and (folder / RECORD).exists():
        number += 1
        folder = how.out / f"{name}-{number}"
    return folder


@contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """The folder, made and writable, for the length of a run."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".probe"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise RunError(f"The run folder {folder} can't be written: {error.strerror}. Give another --out.") from error
    yield


def _machine(how: How) -> dict[str, Any]:
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {
        "data_root": None if how.data_root is None else str(how.data_root),
        "executor": "serial",
        "workers": 1,
        "peak_memory_bytes": peak * 1024,
        "machine": platform.platform(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
    }
