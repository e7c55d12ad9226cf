"""Ditto (Li et al., ICML 2021): FedAvg, and beside it a personal model per client that is pulled to the global one."""

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

PAPER = "Li et al., Ditto: Fair and Robust Federated Learning Through Personalization, ICML 2021"
PERSONAL, GLOBAL = "personal", "global"


@dataclass(frozen=True)
class Ditto(LocalUpdate):
    """Train the received w as FedAvg does, and the personal v on F_k(v) + lambda/2 |v - w_t|^2; send w alone."""

    strength: Annotated[
        float,
        Field(ge=0, description="lambda, the pull to the received model; tune it: the paper tries 0.1, 1 and 2"),
        LogUniform(0.05, 5),
    ] = 1.0

    def setup(self, client: Client, ctx: RoundContext) -> None:
        """Create the personal model, the same for all clients."""
        client.models[PERSONAL] = ctx.build(client.backbone)

    def train(self, client: Client, received: Payload | None, ctx: RoundContext) -> Update:
        """Algorithm 1: both models see the same batches; w_t is the received model, before it is trained."""
        common = load_global(received, client.backbone, ctx)
        start = {name: parameter.detach().clone() for name, parameter in common.named_parameters()}

        def loss(batch: Batch, outputs: Outputs, now: nn.Module) -> dict[str, Tensor]:
            return {"loss": ctx.task.loss(outputs.logits, batch.labels), "proximal": self.proximal(now, start)}

        personal = fit(client.models[PERSONAL], client.train, ctx, loss=loss)
        of_common = {f"{GLOBAL}_{name}": value for name, value in fit(common, client.train, ctx).items()}
        return Update(Payload.of(common), len(client.train), personal | of_common)

    def proximal(self, net: nn.Module, start: Mapping[str, Tensor]) -> Tensor:
        """The term lambda/2 |v - w_t|^2 over the parameters; its gradient is lambda (v - w_t)."""
        squares = [(parameter - start[name]).square().sum() for name, parameter in net.named_parameters()]
        return self.strength / 2 * torch.stack(squares).sum()

    def predictors(self, client: Client, received: Payload | None, ctx: RoundContext) -> Mapping[str, Backbone]:
        """The personal model."""
        return {PERSONAL: client.models[PERSONAL]}

    def global_predictors(self, received: Payload | None, backbone: str, ctx: RoundContext) -> Mapping[str, Backbone]:
        """The global model."""
        return {GLOBAL: load_global(received, backbone, ctx)}


@hookimpl
def fedbench_register_local_updates() -> Mapping[str, type[LocalUpdate]]:
    """The local update."""
    return {"ditto": Ditto}


@hookimpl
def fedbench_register_methods() -> Mapping[str, Method]:
    """The method."""
    summary = "FedAvg, and a personal model per client that is pulled to the received one."
    return {"ditto": Method("ditto", control=Control("local"), paper=PAPER, summary=summary)}
