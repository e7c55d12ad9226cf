"""A ring of small networks that cost milliseconds."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from torch import nn

from fedbench_core.api import (
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
    """Two stages, of 8 x 8 and 4 x 4 locations for 8-pixel images."""

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
    """Maps that are too small."""

    def outputs(self, images):
        given = super().outputs(images)
        return replace(given, maps=tuple(map_[..., :3, :3] for map_ in given.maps))


class Point(Backbone):
    """The smallest network: what goes round does not depend on what it can do."""

    def __init__(self, name):
        super().__init__()
        self.name = name
        self.head = nn.Linear(64, len(TASK.classes))

    def forward(self, images):
        return self.head(images.flatten(1))


def build(backbone, role=""):
    """net4, net6, ..., dull4, point: from the stream of (0, "init", backbone, role)."""
    with torch.random.fork_rng():
        torch.manual_seed(torch_seed(0, "init", backbone, role))
        if backbone.startswith("point"):
            return Point(backbone)
        kind = Dull if backbone.startswith("dull") else Net
        return kind(backbone, int(backbone[-1]))


def moment(number=0, *, clients=3, steps=2, batch_size=8, step=0):
    """Round `number` of a run."""
    training = Training(steps=steps, batch_size=batch_size, lr=0.1)
    return RoundContext(number, 9, step, 0, TASK, training, build=build, clients=clients)


def make_client(number=0, backbone="net4", images=16):
    """A client with images of noise whose brightness tells their class."""
    rng = stream(0, "tests", number)
    labels = np.arange(images) % 3
    pixels = rng.integers(0, 120, (images, 8, 8)) + 60 * labels[:, None, None]
    examples = Examples(pixels.astype(np.uint8), labels[:, None].astype(np.int64), np.arange(images), "none")
    return Client(number, backbone, examples, examples)


@dataclass
class Federation:
    """Clients round a ring: what lies on their inboxes, whom they have hosted (owners in order), all replies in order."""

    update: FedSKD
    backbones: list
    hops: int = 1
    steps: int = 2
    images: int = 16
    inboxes: dict = field(default_factory=dict)
    hosted: dict = field(default_factory=dict)
    replies: list = field(default_factory=list)
    clients: dict = field(default_factory=dict)
    rounds: int = 0

    def round(self, present=None):
        """One round of those present (everyone); gives the replies of the last step by client."""
        count = len(self.backbones)
        there = sorted(range(count) if present is None else present)
        ring, said = Ring(hops=self.hops), {}
        context = moment(self.rounds, clients=count, steps=self.steps)
        for number, turns in enumerate(ring.plan(there, count, context)):
            ctx, merges, said = replace(context, step=number), {}, {}
            for turn in turns:
                reply = said[turn.client] = self._turn(turn.client, self.inboxes.get(ring.home(turn.client)), ctx)
                for place in turn.writes:
                    merges[place] = Relay().open(ctx, {}, self.inboxes.get(place))
                    merges[place].add(Message(turn.client, Payload.from_bytes(reply.payload.to_bytes()), reply.weight))
            self.inboxes |= {place: merge.close() for place, merge in merges.items()}
            self.replies.append(said)
        self.rounds += 1
        return said

    def owners(self):
        """Whose traveller lies on which inbox."""
        return {inbox: int(payload.meta["owner"]) for inbox, payload in self.inboxes.items()}

    def _turn(self, number, received, ctx):
        if number not in self.clients:
            self.clients[number] = make_client(number, self.backbones[number], self.images)
            self.update.setup(self.clients[number], ctx)
        owner = None if received is None else int(received.meta["owner"])
        self.hosted.setdefault(number, []).append(owner)
        return self.update.train(self.clients[number], received, ctx)


@pytest.fixture(scope="session")
def federation():
    """Make a ring: federation(update, backbones, ...)."""
    return Federation


@pytest.fixture(scope="session")
def host():
    """A client that has been set up: host(update, backbone="net4", ...)."""

    def make(update, backbone="net4", images=16):
        client = make_client(0, backbone, images)
        update.setup(client, moment())
        return client

    return make


@pytest.fixture(scope="session")
def at():
    """The moment of a turn: at(round, clients=3, steps=2, batch_size=8)."""
    return moment
