"""fedbench: FedAvg with two worker processes, from settings to the record."""

import tempfile
from pathlib import Path

import fedbench_core
from fedbench_core import RunSpec
from fedbench_core.federation.progress import Event
from fedbench_core.runner import How
from tests.benchmarks.peers.work import BATCH, CLIENTS, PRESENT, SGD, STEPS, Clock, Load


def settings(load: Load, data: Path) -> dict[str, object]:
    """The settings of a run."""
    return {
        "method": "fedavg",
        "backbones": [f"peers-{load.name}"],
        "dataset": f"npz:{data}",
        "image_size": 28,
        "clients": CLIENTS,
        "fraction": PRESENT / CLIENTS,
        "partitioner": "iid",
        "rounds": load.rounds,
        "batch_size": BATCH,
        "optimizer": "sgd",
        "schedule": "constant",
        "evaluate_every": 0,  # only after the last round
        **SGD,
    }


def run(load: Load, data: Path) -> dict[str, float]:
    """A run of all clients."""
    clock = Clock()

    def watch(event: Event) -> None:
        if event.done > len(clock.marks):
            clock.tick()

    with tempfile.TemporaryDirectory() as out:
        finished = fedbench_core.run(RunSpec.of(settings(load, data)), How(out=Path(out), workers=2), watch)
        steps = int(finished.clients["steps"].sum())
    assert steps == load.rounds * STEPS
    return {
        "seconds": clock.seconds(),
        "steps": steps,
        "accuracy": finished.record["test"]["metrics"]["global_accuracy"],
    }
