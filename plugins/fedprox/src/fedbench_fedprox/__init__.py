"""FedProx (Li et al., MLSys 2020): FedAvg whose clients are held near the weights they received."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from fedbench_core.api import Backbone, Client, LocalUpdate, Method, Payload, RoundContext, Update, hookimpl
from fedbench_core.learning import fit, load_global

PAPER = "Li et al., Federated Optimization in Heterogeneous Networks, MLSys 2020"


@dataclass(frozen=True)
class FedProx(LocalUpdate):
    """Train the weights that were received on the task's loss plus mu/2 |w - w_t|^2; mu = 0 is FedAvg."""

    mu: Annotated[float, Field(ge=0, description="strength of the pull to w_t; tune it, the paper used 0.001 to 1")] = (
        0.01
    )

    def train(self, client: Client, received: Payload | None, ctx: RoundContext) -> Update:
        """Minimize h_k(w; w_t) = F_k(w) + mu/2 |w - w_t|^2 (equation 2)."""
        net = load_global(received, client, ctx)
        anchor = [parameter.detach().clone() for parameter in net.parameters()]
        metrics = fit(net, client, ctx, lambda now: self.pull(now, anchor))
        return Update(Payload.of(net), weight=len(client.train), metrics=metrics)

    def pull(self, net: nn.Module, anchor: list[Tensor]) -> Tensor:
        """The proximal term mu/2 |w - w_t|^2; its gradient is mu (w - w_t)."""
        squares = [(now - then).square().sum() for now, then in zip(net.parameters(), anchor, strict=True)]
        return self.mu / 2 * torch.stack(squares).sum()

    def predictors(self, client: Client, received: Payload | None, ctx: RoundContext) -> Mapping[str, Backbone]:
        """The global model."""
        return {"global": load_global(received, client, ctx)}


@hookimpl
def fedbench_register_local_updates() -> Mapping[str, type[LocalUpdate]]:
    """The update."""
    return {"fedprox": FedProx}


@hookimpl
def fedbench_register_methods() -> Mapping[str, Method]:
    """The method."""
    return {"fedprox": Method("fedprox", paper=PAPER, summary="FedAvg with a proximal term that keeps clients near.")}
