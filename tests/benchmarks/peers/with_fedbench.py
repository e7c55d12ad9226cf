"""fedbench: FedAvg with two worker processes, from settings to the record; starts and ends as `fedbench run` does."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import fedbench_core
from fedbench_core.cli.ending import AtOnce
from fedbench_core.cli.serving import serving
from tests.benchmarks.peers.loads import BATCH, CLIENTS, PRESENT, SGD, STEPS, Clock, Load

if TYPE_CHECKING:
    from fedbench_core.federation.progress import Event


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
        "epochs": 1,
        "optimizer": "sgd",
        "schedule": "constant",
        "evaluate_every": 0,  # only after the last round
        **SGD,
    }


def run(load: Load, data: Path) -> dict[str, float]:
    """A run of all clients."""
    clock, ending = Clock(), AtOnce()

    def watch(event: "Event") -> None:
        if event.done > len(clock.marks):
            clock.tick()

    with tempfile.TemporaryDirectory() as out, serving():
        from fedbench_core.runner import How  # noqa: PLC0415  # imports torch, which the fork server shares

        finished = fedbench_core.run(
            fedbench_core.RunSpec.of(settings(load, data)), How(out=Path(out), workers=2), watch
        )
        steps = int(finished.clients["steps"].sum())
    assert steps == load.rounds * STEPS
    ending.status = 0
    return {
        "seconds": clock.seconds(),
        "steps": steps,
        "accuracy": finished.record["test"]["metrics"]["global_accuracy"],
    }
