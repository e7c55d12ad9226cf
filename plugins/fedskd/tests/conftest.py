"""A ring of small networks, in milliseconds."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from torch import nn

from fedbench_core.api import (
    AggregatorState,
    Backbone,
    Client,
    Examples,
    Message,
    Outputs,
    Payload,
    RoundContext,
    Task,
    Training,
    stream,
    torch_seed,
)
from fedbench_core.parts.aggregators import Relay
from fedbench_core.parts.topologies import Ring
from fedbench_fedskd import FedSKD

TASK = Task("multi-class", ("a", "b", "c"))


class Net(Backbone):
    """Two stages, with maps of 8 x 8 and 4 x 4 locations for 8-pixel images."""

    def __init__(self, name, width):
        super().__init__()
        self.name, self.embedding_size = name, width
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.body = nn.Conv2d(width, width + 2, 3, padding=1, stride=2)
        self.head = nn.Linear(width + 2, len(TASK.classes))

    def outputs(self, images):
        first = self.norm(self.stem(images)).tanh()
        second = self.body(first)
        embedding = second.mean(dim=(2, 3))
        return Outputs(self.head(embedding), embedding, (first, second))

    def forward(self, images):
        return self.outputs(images).logits


class Dull(Net):
    """Maps that are too small to be compared."""

    def outputs(self, images):
        outputs = super().outputs(images)
        return replace(outputs, maps=tuple(map_[..., :3, :3] for map_ in outputs.maps))


class Point(Backbone):
    """The smallest network, for tests of the circulation alone."""

    def __init__(self, name):
        super().__init__()
        self.name = name
        self.head = nn.Linear(64, len(TASK.classes))

    def forward(self, images):
        return self.head(images.flatten(1))


class Builder:
    """Builds net4, net6, ..., dull4 and point, from the stream (0, "init", name, role)."""

    def backbone(self, name, role):
        with torch.random.fork_rng(devices=[]):  # asking every kind of device takes a millisecond
            torch.default_generator.manual_seed(torch_seed(0, "init", name, role))
            if name == "point":
                return Point(name)
            kind = Dull if name.startswith("dull") else Net
            return kind(name, int(name[-1]))


def moment(number=0, *, clients=3, steps=2, batch_size=8, phase=0, node=0):
    """Round `number` as client `node` sees it."""
    training = Training(steps=steps, batch_size=batch_size, lr=0.1)
    return RoundContext(number, 9, phase, 0, TASK, training, node, backbones=("",) * clients, builder=Builder())


def make_client(number=0, backbone="net4", images=16):
    """A client with images of noise whose brightness depends on their class."""
    rng = stream(0, "tests", number)
    labels = np.arange(images) % 3
    pixels = rng.integers(0, 120, (images, 8, 8)) + 60 * labels[:, None, None]
    examples = Examples(pixels.astype(np.uint8), labels[:, None].astype(np.int64), np.arange(images), "none")
    return Client(number, backbone, examples, examples)


@dataclass
class Federation:
    """Clients in a ring. inboxes: payloads; hosted: owners of the visitors of each client; updates: of each phase."""

    update: FedSKD
    backbones: list
    hops: int = 1
    steps: int = 2
    images: int = 16
    inboxes: dict = field(default_factory=dict)
    hosted: dict = field(default_factory=dict)
    updates: list = field(default_factory=list)
    clients: dict = field(default_factory=dict)
    rounds: int = 0

    def round(self, participating=None):
        """One round of the participating clients (default: all); returns the updates of the last phase by client."""
        count = len(self.backbones)
        participants = sorted(range(count) if participating is None else participating)
        ctx = moment(self.rounds, clients=count, steps=self.steps)
        for number, phase in enumerate(Ring(hops=self.hops).plan(participants, count, ctx)):
            self.updates.append(self._phase(phase, replace(ctx, phase=number)))
        self.rounds += 1
        return self.updates[-1] if participants else {}

    def owners(self):
        """The owner of the traveler in each inbox."""
        return {inbox: int(payload.meta["owner"]) for inbox, payload in self.inboxes.items()}

    def _phase(self, phase, ctx):
        updates, accumulators = {}, {}
        for turn in phase.turns:
            update = updates[turn.client] = self._turn(turn, replace(ctx, node=turn.client))
            for node in turn.sends_to:
                accumulators[node] = Relay().start(AggregatorState(node), replace(ctx, node=node))
                payload = Payload.from_bytes(update.payload.to_bytes())
                accumulators[node].add(Message(turn.client, payload, update.num_examples))
        self.inboxes |= {node: accumulator.result() for node, accumulator in accumulators.items()}
        return updates

    def _turn(self, turn, ctx):
        number, received = turn.client, self.inboxes.get(turn.receives_from)
        if number not in self.clients:
            self.clients[number] = make_client(number, self.backbones[number], self.images)
            self.update.setup(self.clients[number], ctx)
        self.hosted.setdefault(number, []).append(None if received is None else int(received.meta["owner"]))
        client = self.clients[number]
        update = self.update.train(client, received, ctx)
        client.turns, client.last_round = client.turns + 1, ctx.round
        return update


@pytest.fixture(scope="session")
def federation():
    """A ring: federation(update, backbones, ...)."""
    return Federation


@pytest.fixture(scope="session")
def host():
    """A client after setup: host(update, backbone="net4", images=16, turns=1)."""

    def make(update, backbone="net4", images=16, turns=1):
        client = make_client(0, backbone, images)
        update.setup(client, moment())
        client.turns = turns
        return client

    return make


@pytest.fixture(scope="session")
def at():
    """The context of a turn: at(round, clients=3, steps=2, batch_size=8)."""
    return moment
