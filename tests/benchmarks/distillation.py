"""The cost of low-rank compression and of mutual distillation, against full decompositions and two plain steps.

    python -m tests.benchmarks.distillation [--method fedkd] [--teacher resnet18] [--student mobilenetv3_small_050]

First, `svd` on a delta of the teacher after a few steps, against torch.linalg.svd on each of its matrices: seconds, and
the largest differences in rank and in error. Then one local step of the method, against a plain step of the teacher and
one of the student. One thread; interleaved repeats; median, smallest and largest.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import click
import torch
from torch import Tensor

from fedbench_core import RunSpec
from fedbench_core.api import Backbone, Client, DataRequest, Payload, RoundContext
from fedbench_core.federation.assembly import resolve
from fedbench_core.federation.partition import load, make_partition
from fedbench_core.federation.worker import base_context, networks_of
from fedbench_core.learning import delta, fit
from fedbench_core.parts.svd import Svd
from fedbench_core.registry import registry


@click.command()
@click.option("--method", default="fedkd")
@click.option("--teacher", default="resnet18")
@click.option("--student", default="mobilenetv3_small_050")
@click.option("--batch-size", default=32)
@click.option("--steps", default=8, help="local steps per measurement")
@click.option("--repeats", default=5)
def main(method: str, teacher: str, student: str, batch_size: int, steps: int, repeats: int) -> None:
    """Print both comparisons."""
    torch.set_num_threads(1)
    client, ctx = first_turn(method, teacher, student, batch_size, steps)
    compare_decompositions(delta_of(ctx.build(teacher), ctx.build(teacher), client, ctx), ctx, repeats)
    compare_steps(method, student, client, ctx, repeats)


def first_turn(method: str, teacher: str, student: str, batch_size: int, steps: int) -> tuple[Client, RoundContext]:
    """A client with images of 28 pixels, and the context of its first turn."""
    options = {"local_update.student": student}
    spec = RunSpec.of(
        {"method": method, "backbones": teacher, "clients": 2, "batch_size": batch_size, "steps": steps, "set": options}
    )
    run = resolve(spec)
    partition = make_partition(run, load(run, DataRequest(Path(tempfile.mkdtemp()))))
    ctx = replace(base_context(run, partition, networks_of(run, partition)), node=0)
    images = partition.examples("train", 0)
    return Client(0, teacher, images, images), ctx


def delta_of(net: Backbone, before: Backbone, client: Client, ctx: RoundContext) -> Payload:
    """The delta of a network after training."""
    fit(net, client.train, ctx)
    return delta(net, before)


def compare_decompositions(update: Payload, ctx: RoundContext, repeats: int) -> None:
    """Print the seconds of both, and the differences of their ranks and errors."""
    part, matrices = Svd(), {name: t for name, t in update.tensors.items() if t.ndim > 1}
    times = interleaved(
        {
            "torch.linalg.svd": lambda: [full(tensor) for tensor in matrices.values()],
            "svd": lambda: part.encode(update, ctx, {}),
        },
        repeats,
    )
    encoded = part.encode(update, ctx, {})
    decoded = part.decode(encoded)
    apart, worse, factorized = 0, 0.0, 0
    for name, tensor in matrices.items():
        if encoded.tensors[name].shape == tensor.shape:
            continue
        left, values, right = full(tensor)
        rank = int((values.square().cumsum(0) / values.square().sum() <= part.energy(ctx)).sum()) + 1
        best = ((left[:, :rank] * values[:rank]) @ right[:rank]).reshape(tensor.shape)
        apart = max(apart, abs(rank - encoded.tensors[name].numel() // (len(tensor) + tensor.numel() // len(tensor))))
        errors = [(kept - tensor).norm() / tensor.norm() for kept in (best, decoded.tensors[name])]
        worse, factorized = max(worse, abs(float(errors[0] - errors[1]))), factorized + 1
    show(times)
    sizes = len(update.to_bytes()), len(encoded.to_bytes())
    click.echo(f"{median(times['torch.linalg.svd']) / median(times['svd']):.2f} times faster; wanted: 3")
    click.echo(
        f"{factorized} of {len(matrices)} matrices factorized, {sizes[0]:,} bytes to {sizes[1]:,}; "
        f"ranks differ by {apart} at most, relative errors by {worse:.1e}"
    )


def full(tensor: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A full decomposition."""
    left, values, right = torch.linalg.svd(tensor.reshape(len(tensor), -1), full_matrices=False)
    return left, values, right


def compare_steps(method: str, student: str, client: Client, ctx: RoundContext, repeats: int) -> None:
    """Print the seconds of a local step of the method, of the teacher alone and of the student alone."""
    options = {"student": student, "share": False}  # nothing is sent: only training is measured
    part = registry().make("local_update", method, options)
    part.setup(client, ctx)
    alone = {"teacher": ctx.build(client.backbone), "student": ctx.build(student)}
    loops: dict[str, Callable[[], object]] = {
        "teacher": lambda: fit(alone["teacher"], client.train, ctx),
        "student": lambda: fit(alone["student"], client.train, ctx),
        method: lambda: part.train(client, None, ctx),
    }
    warm = ctx.with_training(steps=1)
    for net in alone.values():
        fit(net, client.train, warm)
    part.train(client, None, warm)
    times = interleaved(loops, repeats)
    show(times)
    ratios = [m / (t + s) for m, t, s in zip(times[method], times["teacher"], times["student"], strict=True)]
    click.echo(f"{method} / (teacher + student) = {median(ratios):.3f}; wanted: at most 1.15")


def interleaved(works: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """CPU seconds of each work in interleaved repeats, so that other load on the machine affects all alike."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            start = time.process_time()
            work()
            times[name].append(time.process_time() - start)
    return times


def show(times: dict[str, list[float]]) -> None:
    """Print one line per work."""
    for name, seconds in times.items():
        click.echo(f"{name:18} {median(seconds):8.3f} s ({min(seconds):.3f} to {max(seconds):.3f})")


if __name__ == "__main__":
    main()
