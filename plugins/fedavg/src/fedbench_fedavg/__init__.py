"""FedAvg (McMahan et al., AISTATS 2017), and FedAvg with local fine-tuning."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from fedbench_core.api import (
    Backbone,
    Client,
    LocalUpdate,
    LogUniform,
    Method,
    Payload,
    RoundContext,
    Update,
    hookimpl,
)
from fedbench_core.learning import fine_tune, fit, load_global

PAPER = "McMahan et al., Communication-Efficient Learning of Deep Networks from Decentralized Data, AISTATS 2017"


@dataclass(frozen=True)
class FedAvg(LocalUpdate):
    """Train the global model locally and return its weights."""

    def train(self, client: Client, received: Payload | None, ctx: RoundContext) -> Update:
        """Algorithm 1, ClientUpdate."""
        net = load_global(received, client.backbone, ctx)
        metrics = fit(net, client.train, ctx)
        return Update(Payload.of(net), len(client.train), metrics)

    def global_predictors(self, received: Payload | None, backbone: str, ctx: RoundContext) -> Mapping[str, Backbone]:
        """The global model."""
        return {"global": load_global(received, backbone, ctx)}


@dataclass(frozen=True)
class FineTuned(FedAvg):
    """FedAvg whose clients fine-tune the global model on their own images before they use it."""

    personalizes: ClassVar[bool] = True
    finetune_epochs: Annotated[int, Field(ge=1, description="local epochs of fine-tuning")] = 1
    finetune_lr: Annotated[
        float, Field(gt=0, description="learning rate of fine-tuning, as a multiple of --lr"), LogUniform(0.01, 1)
    ] = 0.1

    def predictors(self, client: Client, received: Payload | None, ctx: RoundContext) -> Mapping[str, Backbone]:
        """The global model after fine-tuning."""
        tuned = load_global(received, client.backbone, ctx)
        fine_tune(tuned, client.train, ctx, self.finetune_epochs, self.finetune_lr)
        return {"tuned": tuned}


@hookimpl
def fedbench_register_local_updates() -> Mapping[str, type[LocalUpdate]]:
    """Both local updates."""
    return {"fedavg": FedAvg, "fedavg-ft": FineTuned}


@hookimpl
def fedbench_register_methods() -> Mapping[str, Method]:
    """Both methods."""
    return {
        "fedavg": Method(
            "fedavg", paper=PAPER, summary="Clients train a global model; the server averages its weights."
        ),
        "fedavg-ft": Method(
            "fedavg-ft",
            baseline="tuned",
            paper=PAPER,
            summary="FedAvg, then each client fine-tunes on its own images.",
        ),
    }
