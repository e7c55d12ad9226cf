"""Peak memory of all processes, state on disk, and the start of a resumed run, with few clients and with many.

    python -m tests.benchmarks.memory [--clients 10000] [--present 10] [--rounds 5] [--workers 2] [--executor processes]

Each client owns a ResNet-18 once it has taken part; as many are present in each round of both runs. A run is
interrupted after the commit of its last round, because scoring private models is not what is measured, and resumed
until its next turn is done. Pages that processes share are counted once (proportional set size).
"""

import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import click
import psutil

from fedbench_core import RunSpec, run
from fedbench_core.federation.progress import Event
from fedbench_core.runner import How
from tests.benchmarks.engine import make_images


@dataclass(frozen=True)
class Measured:
    """bytes_memory: the largest sum over all processes; resume_seconds: from the call to the end of the first turn."""

    bytes_memory: int
    bytes_disk: int
    resume_seconds: float


def resident() -> int:
    """Bytes resident in this process and all its children, each shared page divided by those that share it."""
    total = 0
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return total


class Peak(threading.Thread):
    """Samples `resident` until the block ends."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.bytes = 0
        self._done = threading.Event()

    def run(self) -> None:
        """Sample ten times per second."""
        while not self._done.wait(0.1):
            self.bytes = max(self.bytes, resident())

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self.join()


def until(spec: RunSpec, how: How, reached: Callable[[Event], bool]) -> None:
    """Run until an event has `reached` something."""

    def watch(event: Event) -> None:
        if reached(event):
            raise KeyboardInterrupt

    try:
        run(spec, how, watch)
    except KeyboardInterrupt:
        return
    raise AssertionError("the run ended before it was interrupted")


def measure(clients: int, present: int, rounds: int, data: Path, **how: object) -> Measured:
    """One run of `rounds` rounds, and its resume."""
    settings = {"method": "local", "backbones": "resnet18", "dataset": f"npz:{data}", "clients": clients}
    settings |= {"rounds": rounds + 1, "fraction": present / clients, "steps": 1, "batch_size": 8, "evaluate_every": 0}
    spec = RunSpec.of({**settings, "partitioner": "iid"})
    with tempfile.TemporaryDirectory() as out:
        where = How(out=Path(out), **how)
        with Peak() as peak:
            until(spec, where, lambda event: event.committed >= rounds)
        disk = sum(path.stat().st_size for path in Path(out).rglob("*") if path.is_file())
        start = time.monotonic()
        until(spec, where, lambda event: event.round == rounds and event.turns > 0)
        return Measured(peak.bytes, disk, time.monotonic() - start)


@click.command()
@click.option("--clients", default=10_000)
@click.option("--present", default=10)
@click.option("--rounds", default=5)
@click.option("--workers", default=2)
@click.option("--executor", default="processes")
def main(clients: int, present: int, rounds: int, workers: int, executor: str) -> None:
    """Measure few, then many, and print the ratio."""
    found: dict[int, Measured] = {}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "images.npz"
        make_images(data, max(1_000, clients))
        for count in (present, clients):
            found[count] = one = measure(count, present, rounds, data, workers=workers, executor=executor)
            click.echo(
                f"{count} clients, {present} per round, {rounds} rounds: peak {one.bytes_memory / 2**20:.0f} MiB, "
                f"state {one.bytes_disk / 2**20:.0f} MiB on disk, resumed after {one.resume_seconds:.1f} s"
            )
    click.echo(f"ratio of peaks {found[clients].bytes_memory / found[present].bytes_memory:.3f}")


if __name__ == "__main__":
    main()
