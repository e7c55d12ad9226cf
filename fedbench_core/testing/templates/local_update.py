"""The local update `example` for fedbench, and the method that brings it into a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from fedbench_core.api import Client, LocalUpdate, Method, Payload, RoundContext, Update, hookimpl
from fedbench_core.learning import fit, load_global

api_version = 1


@dataclass(frozen=True)
class Example(LocalUpdate):
    """Train the weights that were received, with a cost on large ones, and say the result."""

    # Fields are options: `fedbench run --method example --set local_update.strength=0.1`.
    strength: Annotated[float, Field(ge=0, description="of the cost on large weights")] = 0.001

    def train(self, client: Client, received: Payload | None, ctx: RoundContext) -> Update:
        """One turn. `received` is None until something has been said."""
        net = load_global(received, client, ctx)
        # Your idea goes here: another loss, other batches (fedbench_core.learning.batches), something else to say.
        # What the client must remember goes into `client.models` and `client.memory`; make it in `setup`.
        metrics = fit(net, client, ctx, self.cost)
        return Update(Payload.of(net), weight=len(client.train), metrics=metrics)

    def cost(self, net: nn.Module) -> torch.Tensor:
        """What is added to the loss of a batch."""
        return self.strength * torch.stack([weights.square().sum() for weights in net.parameters()]).sum()

    def predictors(self, client: Client, received: Payload | None, ctx: RoundContext) -> Mapping[str, nn.Module]:
        """What this client could deploy now; the first is what it would."""
        return {"global": load_global(received, client, ctx)}


@hookimpl
def fedbench_register_local_updates() -> Mapping[str, type[LocalUpdate]]:
    """The local update by its name."""
    return {"example": Example}


@hookimpl
def fedbench_register_methods() -> Mapping[str, Method]:
    """A server that averages what the local update says."""
    return {"example": Method("example", summary="Clients train small weights; the server averages them.")}
