"""The floor: two processes that take the same steps and never exchange anything."""

import os
from pathlib import Path

import numpy as np

from tests.benchmarks.peers.loads import CLIENTS, PRESENT, STEPS, Clock, Load
from tests.benchmarks.peers.work import Net, accuracy, client, optimizer, test_images, train


def run(load: Load, data: Path) -> dict[str, float]:
    """Train every other client of each round in one network, and score it."""
    net, rng, clock, steps = Net(load), np.random.default_rng(0), Clock(), 0
    rank = int(os.environ["RANK"])
    step = optimizer(net.parameters())
    for _ in range(load.rounds):
        for number in rng.permutation(CLIENTS)[:PRESENT][rank::2]:
            steps += train(net, step, *client(data, int(number)))
        clock.tick()
    assert steps == load.rounds * STEPS // 2
    return {"seconds": clock.seconds(), "steps": steps, "accuracy": accuracy(net, *test_images(data))}
