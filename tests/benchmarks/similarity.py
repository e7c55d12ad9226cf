"""The cost of the similarity losses: a hop of FedSKD against plain steps of both models.

    python -m tests.benchmarks.similarity [--pair resnet10t,mobilenetv3_small_100] [--steps 10] [--repeats 5]

Prints, for each pair (resident,visitor), the milliseconds of a plain step of each model and of a step of a hop, and the
median ratio of interleaved repeats. The goal is a hop of at most 1.2 plain steps of both. `cpu` is the time of one
thread, which other load on the machine affects least.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import click
import numpy as np
import torch
from torch import nn

from fedbench_core.api import Backbone, Client, Examples, Payload, RoundContext, Task, Training
from fedbench_core.learning import fit
from fedbench_core.models import TimmArchitecture
from fedbench_fedskd import FedSKD

GOAL = 1.2
PAIRS = ("resnet10t,mobilenetv3_small_100", "test_resnet,test_efficientnet", "test_resnet,test_vit")
TASK = Task("multi-class", tuple("abcdefgh"))
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}

Taken = dict[str, list[dict[str, float]]]
"""Milliseconds per step, by work, repeat and clock."""


def build(backbone: str) -> Backbone:
    """A network for gray images of 28 pixels."""
    net = TimmArchitecture(backbone).build(TASK.outputs, 1, 28)
    net.name = backbone
    return net


@dataclass(frozen=True)
class Reuse:
    """Builds nothing: every backbone is the same network, so that building it is not measured."""

    net: Backbone

    def backbone(self, name: str, role: str) -> Backbone:
        """The network."""
        return self.net

    def module(self, name: str, role: str, sizes: dict[str, int]) -> nn.Module:
        """FedSKD has no modules."""
        raise NotImplementedError


def noise(images: int) -> Examples:
    """Random images and labels."""
    rng = np.random.default_rng(0)
    pixels, labels = rng.integers(0, 256, (images, 28, 28), dtype=np.uint8), rng.integers(0, 8, (images, 1))
    return Examples(pixels, labels, np.arange(images), "none")


def timed(work: Callable[[], object], steps: int) -> dict[str, float]:
    """Milliseconds per step, by clock."""
    starts = {name: clock() for name, clock in CLOCKS.items()}
    work()
    return {name: 1000 * (clock() - starts[name]) / steps for name, clock in CLOCKS.items()}


def measure(names: tuple[str, str], training: Training, repeats: int, update: FedSKD) -> Taken:
    """Plain steps of the resident and of the visitor, and a hop with both, interleaved; the first repeat is dropped."""
    resident, visitor = (build(name) for name in names)
    ctx = RoundContext(1, 9, 0, 0, TASK, training, node=0, builder=Reuse(visitor))
    steps = training.steps or 1
    examples = noise(steps * training.batch_size)
    client = Client(0, names[0], examples, examples, {"resident": resident}, turns=1, last_round=0)
    received = Payload.of(build(names[1]), meta={"owner": "1", "backbone": names[1]})
    works: dict[str, Callable[[], object]] = {
        "resident": lambda: fit(resident, client.train, ctx),
        "visitor": lambda: fit(visitor, client.train, ctx),
        "hop": lambda: update.train(client, received, ctx),
    }
    times = [{name: timed(work, steps) for name, work in works.items()} for _ in range(repeats + 1)]
    return {name: [one[name] for one in times[1:]] for name in works}


@click.command()
@click.option("--pair", "pairs", multiple=True, default=PAIRS, help="resident,visitor; repeatable")
@click.option("--steps", default=10, help="per measurement")
@click.option("--batch-size", default=32)
@click.option("--repeats", default=5)
@click.option("--layers", default="last", help="or stages")
def main(pairs: tuple[str, ...], steps: int, batch_size: int, repeats: int, layers: str) -> None:
    """Print two lines per pair."""
    torch.set_num_threads(1)
    update = FedSKD(ramp=False, layers="stages" if layers == "stages" else "last")
    training = Training(steps=steps, batch_size=batch_size, lr=1e-4)
    for pair in pairs:
        resident, _, visitor = pair.partition(",")
        taken = measure((resident, visitor), training, repeats, update)
        for clock in CLOCKS:
            shown = "  ".join(f"{name} {median(one[clock] for one in times):.1f} ms" for name, times in taken.items())
            plain = [one[clock] + other[clock] for one, other in zip(taken["resident"], taken["visitor"], strict=True)]
            ratio = median(hop[clock] / floor for hop, floor in zip(taken["hop"], plain, strict=True))
            click.echo(f"{pair} {clock}: {shown}  ratio {ratio:.3f} {'<=' if ratio <= GOAL else '>'} {GOAL}")


if __name__ == "__main__":
    main()
