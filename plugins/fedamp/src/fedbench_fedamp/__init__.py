"""FedAMP (Huang et al., AAAI 2021): a personal model per client, drawn to those of similar clients."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from fedbench_core.api import (
    Accumulator,
    Aggregator,
    AggregatorState,
    Backbone,
    Client,
    Control,
    LocalUpdate,
    LogUniform,
    Message,
    Method,
    Outputs,
    Payload,
    RoundContext,
    Update,
    hookimpl,
)
from fedbench_core.learning import Agreement, Batch, fit

PAPER = "Huang et al., Personalized Cross-Silo Federated Learning on Non-IID Data, AAAI 2021"
MODEL = "personal"


@dataclass(frozen=True)
class FedAMP(LocalUpdate):
    """Train the personal model w_i on F_i(w) + lambda / (2 alpha) |w - u_i|^2, and send its parameters."""

    pull: Annotated[
        float, Field(ge=0, description="lambda / alpha, the strength of the pull to u_i"), LogUniform(0.01, 1)
    ] = 0.1
    share: Annotated[bool, Field(description="false: nothing travels, and nothing pulls; this is local training")] = (
        True
    )

    def setup(self, client: Client, ctx: RoundContext) -> None:
        """Create the personal model, the same for all clients."""
        client.models[MODEL] = ctx.build(client.backbone)

    def train(self, client: Client, received: Payload | None, ctx: RoundContext) -> Update:
        """Start from the client's w_i. Before the first download u_i is w_i, because all start with equal weights."""
        net = client.models[MODEL]
        if not self.share:
            return Update(None, len(client.train), fit(net, client.train, ctx))
        start = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
        cloud = start if received is None else received.tensors

        def loss(batch: Batch, outputs: Outputs, now: nn.Module) -> dict[str, Tensor]:
            return {"loss": ctx.task.loss(outputs.logits, batch.labels), "proximal": self.proximal(now, cloud)}

        metrics = fit(net, client.train, ctx, loss=loss)
        return Update(Payload.of(dict(net.named_parameters())), len(client.train), metrics)

    def proximal(self, net: nn.Module, cloud: Mapping[str, Tensor]) -> Tensor:
        """The term lambda / (2 alpha) |w - u_i|^2; its gradient is lambda / alpha (w - u_i)."""
        squares = [(parameter - cloud[name]).square().sum() for name, parameter in net.named_parameters()]
        return self.pull / 2 * torch.stack(squares).sum()

    def predictors(self, client: Client, received: Payload | None, ctx: RoundContext) -> Mapping[str, Backbone]:
        """The personal model."""
        return {MODEL: client.models[MODEL]}


@dataclass(frozen=True)
class MessagePassing(Aggregator):
    """A channel per client: u_i = (1 - sum_j a_ij) w_i + sum_j a_ij w_j, with a_ij larger for more similar models.

    a_ij = alpha A'(|w_i - w_j|^2) for A(x) = 1 - exp(-x / sigma), and alpha = attention sigma / (N - 1) for N clients,
    so that no weight is negative.
    """

    streaming: ClassVar[bool] = False
    sigma: Annotated[
        float, Field(gt=0, description="squared distance at which a client's weight falls to 1/e"), LogUniform(1, 100)
    ] = 10.0
    attention: Annotated[
        float, Field(ge=0, le=1, description="weight of all other clients together, if all models were equal")
    ] = 0.5

    def channel(self, state: AggregatorState, client: int, ctx: RoundContext) -> str:
        """One channel per client."""
        return str(client)

    def start(self, state: AggregatorState, ctx: RoundContext) -> Accumulator:
        """Holds all messages; RunError names two senders whose messages do not match."""
        return _Passing(self, ctx.clients)

    def weights(self, models: Tensor, clients: int) -> Tensor:
        """The weights (s, s) of s models (s, d) in the u_i of their clients; each row sums to 1."""
        squared = torch.cdist(models, models, compute_mode="donot_use_mm_for_euclid_dist").square()
        others = self.attention / max(1, clients - 1) * torch.exp(-squared / self.sigma)
        others = others.fill_diagonal_(0)
        return others + torch.diag(1 - others.sum(dim=1))


class _Passing(Accumulator):
    def __init__(self, part: MessagePassing, clients: int) -> None:
        self._part, self._clients = part, clients
        self._agreement = Agreement()
        self._models: list[Tensor] = []

    def add(self, message: Message) -> None:
        self._agreement.add(message)
        tensors = message.payload.tensors
        self._models.append(torch.cat([tensors[name].double().flatten() for name in self._agreement.layout]))

    def result(self) -> dict[str, Payload]:
        models = torch.stack(self._models)
        mixed = self._part.weights(models, self._clients) @ models
        return {str(sender): self._payload(row) for sender, row in zip(self._agreement.senders, mixed, strict=True)}

    def _payload(self, row: Tensor) -> Payload:
        layout = self._agreement.layout
        pieces = torch.split(row, [shape.numel() for _, shape in layout.values()])
        tensors = {n: piece.to(d).view(s) for (n, (d, s)), piece in zip(layout.items(), pieces, strict=True)}
        return Payload(tensors, self._agreement.meta)


@hookimpl
def fedbench_register_local_updates() -> Mapping[str, type[LocalUpdate]]:
    """The local update."""
    return {"fedamp": FedAMP}


@hookimpl
def fedbench_register_aggregators() -> Mapping[str, type[Aggregator]]:
    """The aggregator."""
    return {"fedamp": MessagePassing}


@hookimpl
def fedbench_register_methods() -> Mapping[str, Method]:
    """The method."""
    summary = "Personal models; the server mixes for each client those that are similar to its own."
    fedamp = Method("fedamp", "fedamp", pinned=("aggregator",), control=Control("local"), paper=PAPER, summary=summary)
    return {"fedamp": fedamp}
