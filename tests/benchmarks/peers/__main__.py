"""The same work on fedbench, pfl-research and Flower, and in two bare processes: seconds per round, and all in.

    python -m tests.benchmarks.peers [A] [B] [--repeats 5] [--peers fedbench,pfl-research]

1,000 clients of 50 random images of 28x28x3, of which 50 take part in a round; batch 10, one epoch, SGD with momentum,
a new optimizer for each turn, two processes that train with one torch thread each. The network has 1.2 million
parameters with load A (8 rounds) and 12 thousand with load B (30 rounds). Every script counts its optimizer steps and
fails if a step is missing.

The time of a round leaves out the first. All in is from the start of the processes to the end of the last, with one
evaluation on the 1,000 test images. Peers take turns, so that other load on the machine affects all of them; before the
first repeat, each does two rounds that are not counted. Ratios are those of fedbench to the peer in the same repeat.
"""

import os
import platform
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import click
from platformdirs import user_cache_path

from tests.benchmarks.peers.environments import PEERS, python_of, versions
from tests.benchmarks.peers.loads import LOADS
from tests.benchmarks.peers.measure import FIGURES, Figures, measure, prepare

WARM = 2
"""Rounds of the run before the first repeat: a first run writes caches and byte code."""


def cells(name: str, of: Mapping[str, Sequence[Figures]]) -> list[str]:
    """The row of a peer: for each time, median and range, and the median ratio of fedbench to it."""
    row = [name]
    for figure in FIGURES[:2]:
        times = [figures[figure] for figures in of[name]]
        row.append(f"{median(times):.3g} ({min(times):.3g} to {max(times):.3g})")
        own = [figures[figure] for figures in of.get("fedbench", [])]
        row.append(f"{median(a / b for a, b in zip(own, times, strict=True)):.2f}" if own else "-")
    return [*row, f"{of[name][0]['steps']:.0f}"]


def table(load: str, rounds: int, of: Mapping[str, Sequence[Figures]]) -> str:
    """The measurements of a load in Markdown."""
    header = [f"load {load}", "seconds per round", "ratio", f"{rounds} rounds all in, seconds", "ratio", "steps"]
    rows = [header, ["---"] * len(header), *(cells(name, of) for name in of)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def repeated(load: str, rounds: int, repeats: int, pythons: Mapping[str, Path]) -> dict[str, list[Figures]]:
    """The measurements of each peer, in turns."""
    of: dict[str, list[Figures]] = {name: [] for name in pythons}
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        for repeat in range(-1, repeats):
            for name, python in pythons.items():
                figures = measure(PEERS[name], python, load, WARM if repeat < 0 else rounds, Path(folder))
                told = ", ".join(f"{figure} {value:.3f}" for figure, value in figures.items())
                click.echo(f"{load} {'warm-up' if repeat < 0 else repeat + 1} {name}: {told}", err=True)
                of[name] += [figures] if repeat >= 0 else []
    return of


@click.command()
@click.argument("loads", nargs=-1, type=click.Choice(list(LOADS)))
@click.option("--repeats", default=5, type=click.IntRange(min=1), show_default=True)
@click.option("--rounds", type=click.IntRange(min=2), help="instead of those of the load")
@click.option("--peers", default=",".join(PEERS), show_default=True, help="separated by commas")
@click.option("--environments", type=Path, default=user_cache_path("fedbench-peers"), help="folder; made on first use")
def main(loads: tuple[str, ...], repeats: int, rounds: int | None, peers: str, environments: Path) -> None:
    """Measure the loads that are named, all by default."""
    if unknown := set(peers.split(",")) - set(PEERS):
        raise click.BadParameter(f"{', '.join(sorted(unknown))}: not one of {', '.join(PEERS)}", param_hint="--peers")
    pythons = {name: python_of(PEERS[name], environments) for name in peers.split(",")}
    click.echo(f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for name, python in pythons.items():
        click.echo(f"- {name}: {versions(PEERS[name], python)}")
    for load in loads or LOADS:
        count = rounds or LOADS[load].rounds
        click.echo(f"\n{table(load, count, repeated(load, count, repeats, pythons))}")


if __name__ == "__main__":
    main()
