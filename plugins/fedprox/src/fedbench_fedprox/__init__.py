"""FedProx (Li et al., MLSys 2020): FedAvg with a proximal term that keeps clients near the global model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from fedbench_core.api import (
    Backbone,
    Client,
    Control,
    LocalUpdate,
    LogUniform,
    Method,
    Outputs,
    Payload,
    RoundContext,
    Update,
    hookimpl,
)
from fedbench_core.learning import Batch, fit, load_global

PAPER = "Li et al., Federated Optimization in Heterogeneous Networks, MLSys 2020"


@dataclass(frozen=True)
class FedProx(LocalUpdate):
    """Train the global model on the task's loss plus mu/2 |w - w_t|^2; with mu = 0 this is FedAvg."""

    mu: Annotated[
        float,
        Field(ge=0, description="weight of the proximal term; tune it: the paper uses 0.001 to 1"),
        LogUniform(0.001, 1),
    ] = 0.01

    def train(self, client: Client, received: Payload | None, ctx: RoundContext) -> Update:
        """Minimize h_k(w; w_t) = F_k(w) + mu/2 |w - w_t|^2 (equation 2)."""
        net = load_global(received, client.backbone, ctx)
        start = [parameter.detach().clone() for parameter in net.parameters()]

        def loss(batch: Batch, outputs: Outputs, now: nn.Module) -> dict[str, Tensor]:
            return {"loss": ctx.task.loss(outputs.logits, batch.labels), "proximal": self.proximal(now, start)}

        metrics = fit(net, client.train, ctx, loss=loss)
        return Update(Payload.of(net), len(client.train), metrics)

    def proximal(self, net: nn.Module, start: list[Tensor]) -> Tensor:
        """The proximal term mu/2 |w - w_t|^2; its gradient is mu (w - w_t)."""
        squares = [(now - then).square().sum() for now, then in zip(net.parameters(), start, strict=True)]
        return self.mu / 2 * torch.stack(squares).sum()

    def global_predictors(self, received: Payload | None, backbone: str, ctx: RoundContext) -> Mapping[str, Backbone]:
        """The global model."""
        return {"global": load_global(received, backbone, ctx)}


@hookimpl
def fedbench_register_local_updates() -> Mapping[str, type[LocalUpdate]]:
    """The local update."""
    return {"fedprox": FedProx}


@hookimpl
def fedbench_register_methods() -> Mapping[str, Method]:
    """The method."""
    summary = "FedAvg with a proximal term that limits client drift."
    return {"fedprox": Method("fedprox", control=Control("fedavg"), paper=PAPER, summary=summary)}
