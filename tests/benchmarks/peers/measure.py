"""One run of one peer, in processes of its own."""

import json
import os
import socket
import subprocess
import time
from pathlib import Path

import click

from tests.benchmarks.engine import make_images
from tests.benchmarks.peers.environments import Peer

ROOT = Path(__file__).parents[3]
FIGURES = ("seconds per round", "all in", "steps", "accuracy")
Figures = dict[str, float]


def prepare(site: Path) -> None:
    """Images for every peer, and the networks as a plugin of fedbench, which no other peer reads."""
    make_images(site / "images.npz")
    info = site / "fedbench_peers-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fedbench-peers\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fedbench]\npeers = tests.benchmarks.peers.plugin\n")


def measure(peer: Peer, python: Path, load: str, rounds: int, site: Path) -> Figures:
    """Seconds per round, seconds from the start of the processes of `peer` to their end, steps of all, accuracy."""
    command = [str(python), "-m", "tests.benchmarks.peers.child", peer.script]
    start = time.perf_counter()
    told = _outputs([*command, load, str(rounds), str(site / "images.npz")], peer.processes, site)
    all_in = time.perf_counter() - start
    seconds, score = (max(one[name] for one in told) for name in ("seconds", "accuracy"))
    return dict(zip(FIGURES, (seconds, all_in, sum(one["steps"] for one in told), score), strict=True))


def _outputs(command: list[str], processes: int, site: Path) -> list[dict[str, float]]:
    """What each of `processes` printed."""
    port, log = _free_port(), site / "stderr"
    with log.open("w") as stderr:
        options = {"cwd": site, "stdout": subprocess.PIPE, "stderr": stderr}
        environments = [_environment(site, rank, port) for rank in range(processes)]
        children = [subprocess.Popen(command, env=environment, **options) for environment in environments]
        printed = [child.communicate()[0].splitlines() for child in children]
    if any(child.returncode for child in children):
        raise click.ClickException(f"{' '.join(command[3:])} failed\n{log.read_text()[-4000:]}")
    return [json.loads(lines[-1]) for lines in printed]


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("localhost", 0))
        return int(one.getsockname()[1])


def _environment(site: Path, rank: int, port: int) -> dict[str, str]:
    """One torch thread, the modules here, an empty cache for fedbench, no telemetry, and which process this is."""
    paths = [str(site), str(ROOT), os.environ.get("PYTHONPATH", "")]
    which = {
        "RANK": str(rank),
        "PFL_WORKER_RANK": str(rank),
        "PFL_WORKER_ADDRESSES": f"localhost:{port},localhost:{port + 1}",
    }
    own = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "FEDBENCH_CACHE": str(site / "cache")}
    silent = {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    return {**os.environ, **which, **own, **silent, "OMP_NUM_THREADS": "1"}
