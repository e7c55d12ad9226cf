"""A federation that costs milliseconds, to test local updates on: small networks, few images, real other parts."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from fedbench_core.api import (
    Aggregator,
    Backbone,
    Client,
    Compressor,
    Examples,
    LocalUpdate,
    Memory,
    Message,
    Outputs,
    Payload,
    RoundContext,
    Training,
    Update,
    stream,
    torch_seed,
)
from fedbench_core.parts.aggregators import Mean
from fedbench_core.parts.compressors import Dense
from fedbench_core.testing.examples import moment, versions

CLASSES = 3
_SIDE = 8


class ToyNet(Backbone):
    """Two convolutions with batch normalization and a head, `width` channels, for gray images."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.name, self.embedding_size = f"toy{width}", width
        self.stem = nn.Conv2d(1, width, 3, stride=2)
        self.norm = nn.BatchNorm2d(width)
        self.body = nn.Conv2d(width, width, 3, padding=1)
        self.head = nn.Linear(width, CLASSES)

    def outputs(self, images: Tensor) -> Outputs:
        """Everything; one map."""
        maps = self.body(self.norm(self.stem(images)).relu()).relu()
        embedding = maps.mean(dim=(2, 3))
        return Outputs(self.head(embedding), embedding, (maps,))

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        return self.outputs(images).logits


@dataclass(frozen=True)
class ToyBuild:
    """Lends `toy8`, `toy12` and the like: the number is the width."""

    seed: int = 0

    def __call__(self, backbone: str, role: str = "") -> ToyNet:
        """A network with the initial weights of its stream."""
        with torch.random.fork_rng():
            torch.manual_seed(torch_seed(self.seed, "init", backbone, role))
            return ToyNet(int(backbone.removeprefix("toy")))


def toy_client(number: int = 0, backbone: str = "toy8", images: int = 16) -> Client:
    """A client with images of noise whose brightness tells their class."""
    rng = stream(0, "toy", number)
    labels = np.arange(images) % CLASSES
    pixels = rng.integers(0, 128, (images, _SIDE, _SIDE)) + 60 * labels[:, None, None]
    examples = Examples(pixels.astype(np.uint8), labels[:, None].astype(np.int64), np.arange(images), "none")
    return Client(number, backbone, examples, examples)


def toy_moment(number: int = 0, rounds: int = 3, seed: int = 0, training: Training | None = None) -> RoundContext:
    """Round `number`, with three batches of eight images and backbones to lend."""
    training = training or Training(steps=3, batch_size=8)
    return replace(moment(number, rounds, seed), build=ToyBuild(seed), training=training)


@dataclass
class ToyFederation:
    """A server, clients around it, and what lies at the server; `blobs` are what it has laid out so far, encoded."""

    update: LocalUpdate
    clients: Sequence[Client]
    rounds: int = 3
    compressor: Compressor = field(default_factory=Dense)
    downlink: Compressor | None = None
    aggregator: Aggregator = field(default_factory=Mean)
    training: Training | None = None
    received: Payload | None = None
    blobs: list[bytes] = field(default_factory=list)
    server_memory: Memory = field(default_factory=dict)
    _met: set[int] = field(default_factory=set)
    _sent: dict[int, Memory] = field(default_factory=dict)

    def context(self, number: int) -> RoundContext:
        """A round of this federation."""
        return toy_moment(number, self.rounds, training=self.training)

    def round(self, number: int, present: Sequence[int] | None = None) -> dict[int, Update]:
        """One round of the clients present (all, if not given); gives their replies as they said them."""
        ctx = self.context(number)
        there = [client for client in self.clients if present is None or client.id in present]
        replies = {client.id: self._turn(client, ctx) for client in there}
        merge = self.aggregator.open(ctx, self.server_memory, self.received)
        messages = 0
        for sender, reply in replies.items():
            if reply.payload is not None:
                blob = self.compressor.encode(reply.payload, ctx, self._sent.setdefault(sender, {})).to_bytes()
                merge.add(Message(sender, self.compressor.decode(Payload.from_bytes(blob)), reply.weight))
                messages += 1
        if messages:
            downlink = self.downlink or self.compressor
            self.blobs.append(downlink.encode(merge.close(), ctx, self._sent.setdefault(-1, {})).to_bytes())
            self.received = downlink.decode(Payload.from_bytes(self.blobs[-1]))
        return replies

    def predictors(self, client: Client, number: int) -> dict[str, dict[str, Tensor]]:
        """The weights of what a client would deploy after round `number`, by role."""
        ctx = self.context(number)
        self._meet(client, ctx)
        nets = self.update.predictors(client, self.received, ctx)
        return {role: {name: value.clone() for name, value in net.state_dict().items()} for role, net in nets.items()}

    def _turn(self, client: Client, ctx: RoundContext) -> Update:
        self._meet(client, ctx)
        before = None if self.received is None else versions(self.received)
        reply = self.update.train(client, self.received, ctx)
        assert before == (None if self.received is None else versions(self.received)), (
            "what was received was written to"
        )
        if reply.payload is None:
            return reply
        return replace(reply, payload=Payload.from_bytes(reply.payload.to_bytes()))

    def _meet(self, client: Client, ctx: RoundContext) -> None:
        if client.id not in self._met:
            self._met.add(client.id)
            self.update.setup(client, ctx)
