"""FedAvg (McMahan et al., AISTATS 2017), and FedAvg followed by local fine-tuning."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import Field

from fedbench_core.api import Backbone, Client, LocalUpdate, Method, Payload, Reply, RoundContext, hookimpl
from fedbench_core.learning import adopt, fit

PAPER = "McMahan et al., Communication-Efficient Learning of Deep Networks from Decentralized Data, AISTATS 2017"


@dataclass(frozen=True)
class FedAvg(LocalUpdate):
    """Train the weights that were heard on one's own images, and say the result."""

    def update(self, client: Client, heard: Payload | None, ctx: RoundContext) -> Reply:
        """Algorithm 1, ClientUpdate."""
        net = adopt(heard, client, ctx)
        metrics = fit(net, client, ctx)
        return Reply(Payload.of(net), weight=len(client.train), metrics=metrics)

    def predictors(self, client: Client, heard: Payload | None, ctx: RoundContext) -> Mapping[str, Backbone]:
        """The global model."""
        return {"global": adopt(heard, client, ctx)}


@dataclass(frozen=True)
class FineTuned(FedAvg):
    """FedAvg whose clients fine-tune the global model on their own images before they use it."""

    finetune_epochs: Annotated[int, Field(ge=1, description="local epochs before a client predicts")] = 1

    def predictors(self, client: Client, heard: Payload | None, ctx: RoundContext) -> Mapping[str, Backbone]:
        """The global model after local epochs, then the global model as it came."""
        tuned = adopt(heard, client, ctx)
        fit(tuned, client, replace(ctx, training=replace(ctx.training, epochs=self.finetune_epochs, steps=None)))
        return {"tuned": tuned, **super().predictors(client, heard, ctx)}


@hookimpl
def fedbench_register_local_updates() -> Mapping[str, type[LocalUpdate]]:
    """Both updates."""
    return {"fedavg": FedAvg, "fedavg-ft": FineTuned}


@hookimpl
def fedbench_register_methods() -> Mapping[str, Method]:
    """Both methods."""
    return {
        "fedavg": Method("fedavg", paper=PAPER, summary="Clients train a common model; the hub averages the weights."),
        "fedavg-ft": Method("fedavg-ft", paper=PAPER, summary="FedAvg, then each client fine-tunes on its own images."),
    }
