"""FedTGP (Zhang et al., AAAI 2024): the server trains prototypes that are far apart, and clients approach them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from fedbench_core.api import (
    Accumulator,
    Aggregator,
    AggregatorState,
    Control,
    LogUniform,
    Message,
    Method,
    ModuleFactory,
    Outputs,
    Payload,
    RoundContext,
    hookimpl,
)
from fedbench_core.learning import Agreement, Batch, TensorData, fit

PAPER = (
    "Zhang et al., FedTGP: Trainable Global Prototypes with Adaptive-Margin-Enhanced Contrastive Learning, AAAI 2024"
)
PROTOTYPES, COUNTS = "prototypes", "counts"


class Prototypes(nn.Module):
    """The server's network: an embedding of each class through two layers is its prototype (classes, size)."""

    def __init__(self, classes: int, size: int) -> None:
        super().__init__()
        self.embeddings = nn.Embedding(classes, size)
        self.layers = nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, size))

    def prototypes(self) -> Tensor:
        """The prototypes of all classes."""
        prototypes: Tensor = self.layers(self.embeddings.weight)
        return prototypes

    def forward(self, inputs: Tensor) -> Tensor:
        """Negative distances of inputs (b, size) to the prototypes (b, classes); equal vectors have a gradient of 0."""
        squares = (inputs[:, None] - self.prototypes()).square().sum(dim=2)
        return -squares.clamp(min=1e-12).sqrt()


@dataclass(frozen=True)
class TrainedPrototypes(Aggregator):
    """Trains prototypes that are near to those of the clients and, by a margin, far from those of other classes."""

    trains: ClassVar[bool] = True
    streaming: ClassVar[bool] = False
    modules: ClassVar[Mapping[str, ModuleFactory]] = {PROTOTYPES: Prototypes}
    epochs: Annotated[int, Field(ge=0, description="epochs over all received prototypes, in each round")] = 100
    margin: Annotated[float, Field(ge=0, description="tau, the largest margin"), LogUniform(10, 1000)] = 100.0

    def start(self, state: AggregatorState, ctx: RoundContext) -> Accumulator:
        """Holds the prototypes of all messages; RunError names two senders whose messages do not match."""
        return _Trained(self, state, ctx)

    def margin_of(self, prototypes: Tensor, classes: Tensor) -> float:
        """The largest distance of a class's center to the nearest other one, at most tau; tau for a single class."""
        centers = torch.stack([prototypes[classes == one].mean(dim=0) for one in set(classes.tolist())]).double()
        distances = torch.cdist(centers, centers, compute_mode="donot_use_mm_for_euclid_dist")
        gaps = distances.fill_diagonal_(torch.inf).amin(dim=1)
        return min(self.margin, gaps.max().item())

    def loss(self, distances: Tensor, classes: Tensor, margin: float) -> Tensor:
        """Cross-entropy of -D, where a prototype's distance to its own class is larger by the margin (equation 7)."""
        return F.cross_entropy(distances - margin * F.one_hot(classes, distances.shape[1]), classes)


class _Trained(Accumulator):
    def __init__(self, part: TrainedPrototypes, state: AggregatorState, ctx: RoundContext) -> None:
        self._part, self._state, self._ctx = part, state, ctx
        self._agreement = Agreement()
        self._messages: dict[int, Message] = {}

    def add(self, message: Message) -> None:
        self._agreement.add(message)
        self._messages[message.sender] = message

    def result(self) -> Payload:
        tensors = [self._messages[sender].payload.tensors for sender in sorted(self._messages)]
        known = [(one[COUNTS] > 0).nonzero()[:, 0] for one in tensors]
        prototypes = torch.cat([one[PROTOTYPES][rows] for one, rows in zip(tensors, known, strict=True)])
        data, part, ctx = TensorData(prototypes, torch.cat(known)), self._part, self._ctx
        if PROTOTYPES not in self._state.modules:
            classes, size = tensors[0][PROTOTYPES].shape
            self._state.modules[PROTOTYPES] = ctx.build_module(PROTOTYPES, classes=classes, size=size)
        net = self._state.modules[PROTOTYPES]
        margin = part.margin_of(data.inputs, data.labels)
        plain = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "clip": None, "precision": "fp32"}
        ctx = ctx.with_training(epochs=part.epochs, **plain)

        def loss(batch: Batch, outputs: Outputs, _net: nn.Module) -> Tensor:
            return part.loss(outputs.logits, batch.labels, margin)

        fit(net, data, ctx, loss=loss, who=(PROTOTYPES,))
        with torch.no_grad():
            trained: Tensor = net.prototypes()  # type: ignore[operator]  # the network above
        return Payload({PROTOTYPES: trained, COUNTS: torch.ones_like(tensors[0][COUNTS])})


@hookimpl
def fedbench_register_aggregators() -> Mapping[str, type[Aggregator]]:
    """The aggregator."""
    return {"trained-prototypes": TrainedPrototypes}


@hookimpl
def fedbench_register_methods() -> Mapping[str, Method]:
    """The method; its clients are FedProto's, with equation 3 as the distance."""
    fedtgp = Method(
        "fedproto",
        aggregator="trained-prototypes",
        options={"local_update": {"strength": 10.0}},
        pinned=("aggregator", "topology"),
        mixed_backbones=True,
        control=Control("local"),
        paper=PAPER,
        summary="Clients with any backbones share class means of embeddings, from which the server trains prototypes.",
    )
    return {"fedtgp": fedtgp}
