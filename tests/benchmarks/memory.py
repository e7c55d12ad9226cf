"""Peak resident memory of all processes, and disk use, with many and with few clients that each own a ResNet-18.

    python -m tests.benchmarks.memory [--rounds 5] [--workers 2] [--executor processes]

Ten clients are present in each round, of 10 and of 1,000; each keeps its own model between turns. The run is
interrupted after its last round: scoring 1,000 private models is not what is measured.
"""

import tempfile
import threading
import time
from pathlib import Path

import click
import psutil

from fedbench_core import RunSpec, run
from fedbench_core.runner import How
from tests.benchmarks.engine import make_images


def resident() -> int:
    """Bytes resident in this process and all its children, shared pages counted in each."""
    total = 0
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def peak(clients: int, rounds: int, data: Path, **how: object) -> tuple[int, int]:
    """The largest sum of resident bytes in a run, and the bytes of its state on disk."""
    settings = {"method": "local", "backbones": "resnet18", "dataset": f"npz:{data}", "clients": clients}
    settings |= {"rounds": rounds + 1, "fraction": 10 / clients, "steps": 1, "batch_size": 8, "evaluate_every": 0}
    samples: list[int] = []
    done = threading.Event()

    def sample() -> None:
        while not done.wait(0.05):
            samples.append(resident())

    with tempfile.TemporaryDirectory() as out:

        def watch(event: object) -> None:
            if event.done >= rounds:  # type: ignore[attr-defined]
                raise KeyboardInterrupt

        thread = threading.Thread(target=sample)
        thread.start()
        try:
            run(RunSpec.of({**settings, "partitioner": "iid"}), How(out=Path(out), **how), watch)
        except KeyboardInterrupt:
            disk = sum(path.stat().st_size for path in Path(out).rglob("*") if path.is_file())
        finally:
            done.set()
            thread.join()
    return max(samples), disk


@click.command()
@click.option("--rounds", default=5)
@click.option("--workers", default=2)
@click.option("--executor", default="processes")
def main(rounds: int, workers: int, executor: str) -> None:
    """Measure few, then many, and print the ratio."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "images.npz"
        make_images(data)
        peaks = {}
        for clients in (10, 1000):
            start = time.monotonic()
            peaks[clients], disk = peak(clients, rounds, data, workers=workers, executor=executor)
            click.echo(
                f"{clients} clients: peak {peaks[clients] / 2**20:.0f} MiB, state {disk / 2**20:.0f} MiB on disk, "
                f"{time.monotonic() - start:.0f} s"
            )
        click.echo(f"ratio {peaks[1000] / peaks[10]:.3f}")


if __name__ == "__main__":
    main()
