"""What the harness adds to training: seconds and CPU seconds per round, against a floor, in one interleaved run.

    python -m tests.benchmarks.engine [A] [B] [C] [--repeats 5] [--npz FILE] [--limit 6000] [--executor processes]

The floor is two plain processes, one thread each, that do the same gradient steps on the same tensors and nothing else.
Load A: 1,000 clients of 50 images of 28x28x3, 50 present per round, batch 10, a CNN of 1.2 M parameters, 20 rounds.
Load B: the same with 12 thousand parameters, 40 rounds. Load C: an npz file of small images, 10 clients,
timm's test_resnet with its own stem, batch 64, 3 rounds of `--limit` images. The first round is left out: it builds the
models.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from statistics import median

import click
import numpy as np

LOADS = {
    "A": {"backbone": "bench-large", "rounds": 20, "batch_size": 10, "clients": 1000, "present": 50, "images": 50},
    "B": {"backbone": "bench-small", "rounds": 40, "batch_size": 10, "clients": 1000, "present": 50, "images": 50},
    "C": {"backbone": "test_resnet", "rounds": 3, "batch_size": 64, "clients": 10, "present": 10, "images": 0},
}

PLUGIN = """
from dataclasses import dataclass
from torch import nn
from fedbench_core.api import Backbone, Outputs, hookimpl

class Net(Backbone):
    def __init__(self, outputs, channels, widths, hidden):
        super().__init__()
        a, b = widths
        self.one, self.two = nn.Conv2d(channels, a, 5, padding=2), nn.Conv2d(a, b, 5, padding=2)
        self.hidden, self.head = nn.Linear(b * 49, hidden), nn.Linear(hidden, outputs)
        self.embedding_size = hidden
    def outputs(self, images):
        maps = nn.functional.max_pool2d(self.one(images).relu(), 2)
        maps = nn.functional.max_pool2d(self.two(maps).relu(), 2)
        embedding = self.hidden(maps.flatten(1)).relu()
        return Outputs(self.head(embedding), embedding, (maps,))
    def forward(self, images):
        return self.outputs(images).logits

@dataclass(frozen=True)
class Large:
    name = "bench-large"
    def build(self, outputs, channels, image_size):
        return Net(outputs, channels, (32, 64), 368)

@dataclass(frozen=True)
class Small:
    name = "bench-small"
    def build(self, outputs, channels, image_size):
        return Net(outputs, channels, (4, 8), 26)

@hookimpl
def fedbench_register_backbones():
    return {"bench-large": Large, "bench-small": Small}
"""


def install(site: Path) -> None:
    """The benchmark's networks as a plugin."""
    (site / "bench_module.py").write_text(PLUGIN)
    info = site / "fedbench_bench-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fedbench-bench\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fedbench]\nparts = bench_module\n")


def make_images(path: Path, evaluation: int = 1_000) -> None:
    """50,000 random training images in ten classes, and as many validation as test images."""
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 50_000), ("val", evaluation), ("test", evaluation)):
        arrays[f"{split}_images"] = rng.integers(0, 255, (count, 28, 28, 3), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(count, dtype=np.uint8)[:, None] % 10
    np.savez(path, **arrays)


def spec(name: str, data: Path, limit: int) -> dict[str, object]:
    """The settings of a load."""
    load = LOADS[name]
    settings = {key: load[key] for key in ("rounds", "batch_size", "clients")}
    settings |= {"method": "fedavg", "backbones": [load["backbone"]], "dataset": f"npz:{data}", "lr": 0.01}
    settings |= {"epochs": 1, "optimizer": "sgd", "schedule": "constant", "image_size": 28}
    settings |= {"fraction": load["present"] / load["clients"], "partitioner": "iid", "evaluate_every": 0}
    return settings | ({"limit": limit, "set": {"backbone.stem": "timm"}} if name == "C" else {})


def engine(settings: dict[str, object], executor: str) -> dict[str, float]:
    """Seconds and CPU seconds per round of a real run with two workers; prints them as JSON."""
    import psutil  # noqa: PLC0415  # only in the child

    from fedbench_core import RunSpec, run  # noqa: PLC0415  # only in the child
    from fedbench_core.runner import How  # noqa: PLC0415  # only in the child

    marks: list[tuple[float, float]] = []

    def watch(event: object) -> None:
        if event.done > len(marks):  # type: ignore[attr-defined]
            tree = [psutil.Process(), *psutil.Process().children(recursive=True)]
            marks.append((time.perf_counter(), sum(sum(p.cpu_times()[:2]) for p in tree)))

    with tempfile.TemporaryDirectory() as out:
        run(RunSpec.of(settings), How(out=Path(out), workers=2, executor=executor), watch)
    rounds = len(marks) - 1
    wall, cpu = ((marks[-1][i] - marks[0][i]) / rounds for i in (0, 1))
    return {"wall": wall, "cpu": cpu}


def floor(settings: dict[str, object], half: int) -> dict[str, float]:
    """One of two plain processes: every other client's gradient steps, all rounds but one."""
    import torch  # noqa: PLC0415  # only in the child

    from fedbench_core import RunSpec  # noqa: PLC0415  # only in the child
    from fedbench_core.federation.executors.processes import WorkerFactory  # noqa: PLC0415  # only in the child
    from fedbench_core.federation.participation import participating  # noqa: PLC0415  # only in the child
    from fedbench_core.runner import How  # noqa: PLC0415  # only in the child

    resolved = RunSpec.of(settings)
    worker = WorkerFactory(resolved, How().request(resolved)).worker()
    partition, ctx = worker._partition, worker._base  # the same tensors, without the rest
    net = ctx.build(resolved.backbones[0])
    batches = []
    for round_ in range(1, resolved.rounds):
        for client in participating(resolved, resolved.clients, round_)[half::2]:
            examples = partition.examples("train", client)
            batches += [
                examples.tensors(rows)
                for rows in np.array_split(np.arange(len(examples)), max(1, len(examples) // resolved.batch_size))
            ]
    step = torch.optim.SGD(net.parameters(), lr=resolved.lr, momentum=resolved.momentum, fused=True)
    start, cpu = time.perf_counter(), time.process_time()
    for images, labels in batches:
        loss = ctx.task.loss(net(images), labels)
        step.zero_grad()
        loss.backward()
        step.step()
    rounds = resolved.rounds - 1
    return {"wall": (time.perf_counter() - start) / rounds, "cpu": (time.process_time() - cpu) / rounds}


def child(what: str, settings: dict[str, object], site: Path) -> "subprocess.Popen[str]":
    """This file in a process of its own; its last line of output is JSON."""
    command = [sys.executable, __file__, "--child", what, json.dumps(settings)]
    env = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)


def measure(settings: dict[str, object], site: Path, executors: tuple[str, ...]) -> list[dict[str, float]]:
    """One floor, and one engine with each executor, after one another."""
    halves = [child(what, settings, site) for what in ("floor 0", "floor 1")]
    told = [json.loads(half.communicate()[0].splitlines()[-1]) for half in halves]
    bottom = {"wall": max(t["wall"] for t in told), "cpu": sum(t["cpu"] for t in told)}
    engines = [child(f"engine {executor}", settings, site).communicate()[0] for executor in executors]
    return [bottom, *(json.loads(said.splitlines()[-1]) for said in engines)]


@click.command()
@click.argument("loads", nargs=-1, type=click.Choice(list(LOADS)))
@click.option("--repeats", default=5)
@click.option("--npz", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="images of load C")
@click.option("--limit", default=6000, help="training images of load C")
@click.option("--executor", "executors", multiple=True, default=["processes"], help="repeatable")
@click.option("--child", "child_settings", nargs=2, help="used by this file itself")
def main(
    loads: tuple[str, ...],
    repeats: int,
    npz: Path | None,
    limit: int,
    executors: tuple[str, ...],
    child_settings: tuple[str, str] | None,
) -> None:
    """Measure the loads that are named, A and B by default."""
    if child_settings:
        (what, which), settings = child_settings[0].split(), json.loads(child_settings[1])
        click.echo(json.dumps(engine(settings, which) if what == "engine" else floor(settings, int(which))))
        return
    if "C" in loads and npz is None:
        raise click.UsageError("load C needs --npz FILE")
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder)
        install(site)
        make_images(site / "bench.npz")
        for name in loads or ("A", "B"):
            data = npz.resolve() if npz and name == "C" else site / "bench.npz"
            pairs = [measure(spec(name, data, limit), site, executors) for _ in range(repeats)]
            for number, clock in product(range(len(executors)), ("wall", "cpu")):
                floors, engines = ([pair[i][clock] for pair in pairs] for i in (0, number + 1))
                ratios = [e / f for f, e in zip(floors, engines, strict=True)]
                told = ", ".join(f"{ratio:.3f}" for ratio in ratios)
                click.echo(
                    f"load {name} {clock}: floor {median(floors):.3f} s, {executors[number]} {median(engines):.3f} s "
                    f"per round, ratio {median(ratios):.3f} (pairs {told})"
                )


if __name__ == "__main__":
    main()
