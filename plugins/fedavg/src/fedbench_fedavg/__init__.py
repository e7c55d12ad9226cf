"""FedAvg (McMahan et al., AISTATS 2017), and FedAvg followed by local fine-tuning."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import Field

from fedbench_core.api import Backbone, Client, LocalUpdate, Method, Payload, RoundContext, Update, hookimpl
from fedbench_core.learning import fit, load_global

PAPER = "McMahan et al., Communication-Efficient Learning of Deep Networks from Decentralized Data, AISTATS 2017"


@dataclass(frozen=True)
class FedAvg(LocalUpdate):
    """Train the weights that were received on one's own images, and say the result."""

    def train(self, client: Client, received: Payload | None, ctx: RoundContext) -> Update:
        """Algorithm 1, ClientUpdate."""
        net = load_global(received, client, ctx)
        metrics = fit(net, client, ctx)
        return Update(Payload.of(net), weight=len(client.train), metrics=metrics)

    def predictors(self, client: Client, received: Payload | None, ctx: RoundContext) -> Mapping[str, Backbone]:
        """The global model."""
        return {"global": load_global(received, client, ctx)}


@dataclass(frozen=True)
class FineTuned(FedAvg):
    """FedAvg whose clients fine-tune the global model on their own images before they use it."""

    finetune_epochs: Annotated[int, Field(ge=1, description="local epochs before a client predicts")] = 1

    def predictors(self, client: Client, received: Payload | None, ctx: RoundContext) -> Mapping[str, Backbone]:
        """The global model after local epochs, then the global model as it came."""
        tuned = load_global(received, client, ctx)
        fit(tuned, client, replace(ctx, training=replace(ctx.training, epochs=self.finetune_epochs, steps=None)))
        return {"tuned": tuned, **super().predictors(client, received, ctx)}


@hookimpl
def fedbench_register_local_updates() -> Mapping[str, type[LocalUpdate]]:
    """Both updates."""
    return {"fedavg": FedAvg, "fedavg-ft": FineTuned}


@hookimpl
def fedbench_register_methods() -> Mapping[str, Method]:
    """Both methods."""
    return {
        "fedavg": Method(
            "fedavg", paper=PAPER, summary="Clients train a common model; the server averages the weights."
        ),
        "fedavg-ft": Method("fedavg-ft", paper=PAPER, summary="FedAvg, then each client fine-tunes on its own images."),
    }
