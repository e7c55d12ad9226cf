"""The local update `example` for fedbench, and a method that uses it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from fedbench_core.api import Client, LocalUpdate, Method, Outputs, Payload, RoundContext, Update, hookimpl
from fedbench_core.learning import Batch, fit, load_global

api_version = 2


@dataclass(frozen=True)
class Example(LocalUpdate):
    """Train the received weights with a penalty on large ones, and send the result."""

    # Fields are options: `fedbench run --method example --set local_update.strength=0.1`.
    strength: Annotated[float, Field(ge=0, description="of the penalty on large weights")] = 0.001

    def train(self, client: Client, received: Payload | None, ctx: RoundContext) -> Update:
        """Train. `received` is None as long as nothing was published."""
        net = load_global(received, client.backbone, ctx)

        # Your idea goes here: another loss, other batches (fedbench_core.learning.batches), something else to send.
        # What the client keeps goes into `client.models` and `client.memory`; create it in `setup`.
        def loss(batch: Batch, outputs: Outputs, net: nn.Module) -> dict[str, Tensor]:
            penalty = torch.stack([weights.square().sum() for weights in net.parameters()]).sum()
            return {"loss": ctx.task.loss(outputs.logits, batch.labels), "penalty": self.strength * penalty}

        metrics = fit(net, client.train, ctx, loss=loss)
        return Update(Payload.of(net), len(client.train), metrics)

    def global_predictors(self, received: Payload | None, backbone: str, ctx: RoundContext) -> Mapping[str, nn.Module]:
        """The model that all clients with this backbone have in common."""
        return {"global": load_global(received, backbone, ctx)}


@hookimpl
def fedbench_register_local_updates() -> Mapping[str, type[LocalUpdate]]:
    """The local update, by name."""
    return {"example": Example}


@hookimpl
def fedbench_register_methods() -> Mapping[str, Method]:
    """The method, by name: parts that are not named are a star, and a mean of the messages."""
    return {"example": Method("example", summary="A global model, trained with a penalty on large weights.")}
