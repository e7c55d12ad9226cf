"""A federation of milliseconds, to test local updates: small networks, few images, the real other parts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from torch import Tensor, nn

from fedbench_core.api import (
    SERVER,
    Accumulator,
    Aggregator,
    AggregatorState,
    Backbone,
    Client,
    Compressor,
    Examples,
    LocalUpdate,
    Memory,
    Message,
    ModuleFactory,
    Outputs,
    Payload,
    RoundContext,
    Training,
    Update,
    stream,
    torch_seed,
)
from fedbench_core.federation.generators import own_generator
from fedbench_core.parts.aggregators import Mean
from fedbench_core.parts.compressors import Dense
from fedbench_core.testing.examples import moment, versions

CLASSES = 3
_SIDE = 8


class ToyNet(Backbone):
    """Two convolutions with batch normalization and a linear head; `width` channels, for gray images."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.name, self.embedding_size = f"toy{width}", width
        self.stem = nn.Conv2d(1, width, 3, stride=2)
        self.norm = nn.BatchNorm2d(width)
        self.body = nn.Conv2d(width, width, 3, padding=1)
        self.head = nn.Linear(width, CLASSES)

    def outputs(self, images: Tensor) -> Outputs:
        """Logits, embedding and one map."""
        maps = self.body(self.norm(self.stem(images)).relu()).relu()
        embedding = maps.mean(dim=(2, 3))
        return Outputs(self.head(embedding), embedding, (maps,))

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        return self.outputs(images).logits


@dataclass(frozen=True)
class ToyBuilder:
    """Builds the backbones `toy8`, `toy12` and so on (the number is the width), and the given modules."""

    seed: int = 0
    modules: Mapping[str, ModuleFactory] = field(default_factory=dict)

    def backbone(self, name: str, role: str = "") -> ToyNet:
        """A backbone with the initial weights of its stream."""
        with own_generator(torch_seed(self.seed, "init", name, role), "cpu"):
            return ToyNet(int(name.removeprefix("toy")))

    def module(self, name: str, role: str, sizes: Mapping[str, int]) -> nn.Module:
        """A module with the initial weights of its stream."""
        words = [f"{size}={value}" for size, value in sorted(sizes.items())]
        with own_generator(torch_seed(self.seed, "init", name, role, *words), "cpu"):
            return self.modules[name](**sizes)


def toy_client(number: int = 0, backbone: str = "toy8", images: int = 16) -> Client:
    """A client with images of noise whose brightness depends on their class."""
    rng = stream(0, "toy", number)
    labels = np.arange(images) % CLASSES
    pixels = rng.integers(0, 128, (images, _SIDE, _SIDE)) + 60 * labels[:, None, None]
    examples = Examples(pixels.astype(np.uint8), labels[:, None].astype(np.int64), np.arange(images), "none")
    return Client(number, backbone, examples, examples)


def toy_moment(
    number: int = 0,
    rounds: int = 3,
    seed: int = 0,
    training: Training | None = None,
    *,
    node: int = 0,
    modules: Mapping[str, ModuleFactory] | None = None,
) -> RoundContext:
    """Round `number` as client `node` sees it: three batches of eight images, and toy backbones to build."""
    training = training or Training(steps=3, batch_size=8)
    ctx = moment(number, rounds, seed, node=node)
    return replace(ctx, builder=ToyBuilder(seed, modules or {}), training=training)


@dataclass
class ToyFederation:
    """A server and its clients. published: by channel, as clients decode it; blobs: all that the server encoded."""

    update: LocalUpdate
    clients: Sequence[Client]
    rounds: int = 3
    compressor: Compressor = field(default_factory=Dense)
    downlink: Compressor | None = None
    aggregator: Aggregator = field(default_factory=Mean)
    training: Training | None = None
    published: dict[str, Payload] = field(default_factory=dict)
    blobs: list[bytes] = field(default_factory=list)
    server: AggregatorState = field(default_factory=lambda: AggregatorState(SERVER))
    _set_up: set[int] = field(default_factory=set)
    _compressors: dict[tuple[int, str], Memory] = field(default_factory=dict)

    @property
    def received(self) -> Payload | None:
        """What a client receives from the channel that is for all; None if nothing was published there."""
        return self.published.get("")

    def context(self, number: int, node: int = SERVER) -> RoundContext:
        """A round of this federation, as a node sees it."""
        modules = {**self.update.modules, **self.aggregator.modules}
        ctx = toy_moment(number, self.rounds, training=self.training, node=node, modules=modules)
        return replace(ctx, backbones=tuple(client.backbone for client in self.clients))

    def round(self, number: int, participating: Sequence[int] | None = None) -> dict[int, Update]:
        """One round of the participating clients (default: all); returns what each of them sent, by client."""
        taking_part = [one for one in self.clients if participating is None or one.id in participating]
        updates = {client.id: self._turn(client, number) for client in taking_part}
        messages = [
            self._arrived(sender, update, number) for sender, update in updates.items() if update.payload is not None
        ]
        if messages:
            accumulator = self._accumulator(number)
            for message in messages:
                accumulator.add(message)
            result = accumulator.result()
            for channel, payload in ({"": result} if isinstance(result, Payload) else result).items():
                self._publish(channel, payload, number)
        return updates

    def predictors(self, client: Client, number: int) -> dict[str, dict[str, Tensor]]:
        """The weights of a client's models after round `number`, by role: its own, and those in common."""
        ctx = self.context(number, client.id)
        received = self._received(client, number)
        self._ensure_set_up(client)
        own = self.update.predictors(client, received, ctx)
        nets = {**own, **self.update.global_predictors(received, client.backbone, ctx)}
        return {role: {name: value.clone() for name, value in net.state_dict().items()} for role, net in nets.items()}

    def _turn(self, client: Client, number: int) -> Update:
        self._ensure_set_up(client)
        received = self._received(client, number)
        before = None if received is None else versions(received)
        update = self.update.train(client, received, self.context(number, client.id))
        assert before == (None if received is None else versions(received)), "train changed the received payload"
        client.turns, client.last_round = client.turns + 1, number
        if update.payload is None:
            return update
        return replace(update, payload=Payload.from_bytes(update.payload.to_bytes()))

    def _ensure_set_up(self, node: Client | None) -> None:
        """Set up a client, or (None) the server, once."""
        number = SERVER if node is None else node.id
        if number in self._set_up:
            return
        self._set_up.add(number)
        if node is None:
            self.aggregator.setup(self.server, self.context(0))
        else:
            self.update.setup(node, self.context(0, number))

    def _received(self, client: Client, number: int) -> Payload | None:
        self._ensure_set_up(None)
        return self.published.get(self.aggregator.channel(self.server, client.id, self.context(number)))

    def _arrived(self, sender: int, update: Update, number: int) -> Message:
        assert update.payload is not None
        memory = self._compressors.setdefault((sender, ""), {})
        blob = self.compressor.encode(update.payload, self.context(number, sender), memory).to_bytes()
        return Message(sender, self.compressor.decode(Payload.from_bytes(blob)), update.num_examples)

    def _accumulator(self, number: int) -> Accumulator:
        self._ensure_set_up(None)
        self.server.published = dict(self.published)
        return self.aggregator.start(self.server, self.context(number))

    def _publish(self, channel: str, payload: Payload, number: int) -> None:
        downlink = self.downlink or self.compressor
        memory = self._compressors.setdefault((SERVER, channel), {})
        blob = downlink.encode(payload, self.context(number), memory).to_bytes()
        self.blobs.append(blob)
        self.published[channel] = downlink.decode(Payload.from_bytes(blob))
