"""MOON (Li et al., CVPR 2021): representations stay near the global model's, and away from the client's last one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from fedbench_core.api import (
    Client,
    Control,
    LocalUpdate,
    LogUniform,
    Method,
    ModuleFactory,
    Outputs,
    Payload,
    RoundContext,
    Update,
    hookimpl,
)
from fedbench_core.learning import Batch, Projected, fit

PAPER = "Li, He, Song, Model-Contrastive Federated Learning, CVPR 2021"
PREVIOUS = "previous"


def projection_head(inputs: int, outputs: int) -> nn.Module:
    """Two layers, from an embedding to a representation."""
    return nn.Sequential(nn.Linear(inputs, inputs), nn.ReLU(), nn.Linear(inputs, outputs))


@dataclass(frozen=True)
class Moon(LocalUpdate):
    """Train the global model with a contrastive term: near the received model, far from the client's last one.

    The client keeps the network and the projection head of its last turn.
    """

    modules: ClassVar[Mapping[str, ModuleFactory]] = {"projection": projection_head, "output": nn.Linear}
    mu: Annotated[float, Field(ge=0, description="weight of the contrastive term; tune it"), LogUniform(0.1, 10)] = 1.0
    temperature: Annotated[float, Field(gt=0, description="tau"), LogUniform(0.1, 1)] = 0.5
    size: Annotated[
        int, Field(ge=0, description="length of a representation; 0: no projection head, it is the embedding")
    ] = 256

    def check(self, client: Client, ctx: RoundContext) -> Sequence[str]:
        """RequestError if the backbone has no embeddings."""
        ctx.build(client.backbone).eval().outputs(client.train.tensors()[0][:2])
        return ()

    def setup(self, client: Client, ctx: RoundContext) -> None:
        """The client's last model is the initial one, before it has trained."""
        initial = self.network(None, client.backbone, ctx)
        client.models[PREVIOUS] = initial.net
        if self.size:
            client.modules[PREVIOUS] = initial.projection

    def train(self, client: Client, received: Payload | None, ctx: RoundContext) -> Update:
        """Algorithm 1, PartyLocalTraining."""
        model, anchor = (self.network(received, client.backbone, ctx) for _ in range(2))
        previous = Projected(client.models[PREVIOUS], client.modules.get(PREVIOUS, nn.Identity()), nn.Identity())

        def loss(batch: Batch, outputs: Outputs, _net: nn.Module) -> dict[str, Tensor]:
            own = model.represent(outputs)
            others = [one.represent(one.net.outputs(batch.images)) for one in (anchor, previous)]
            contrast = self.contrast(own, *others)
            return {"loss": ctx.task.loss(model.output(own), batch.labels), "contrast": self.mu * contrast}

        trained = list(model.parameters())
        metrics = fit(model.net, client.train, ctx, loss=loss, parameters=trained, frozen=[anchor, previous])
        for kept, now in ((previous.net, model.net), (previous.projection, model.projection)):
            kept.load_state_dict(now.state_dict())
        return Update(Payload.of(model.used()), len(client.train), metrics)

    def contrast(self, own: Tensor, anchor: Tensor, previous: Tensor) -> Tensor:
        """Equation 3: cross-entropy of [cos(z, z_glob), cos(z, z_prev)] / tau with the first as target, a mean."""
        cosines = torch.stack([F.cosine_similarity(own, other) for other in (anchor, previous)], dim=1)
        return F.cross_entropy(cosines / self.temperature, torch.zeros(len(own), dtype=torch.long, device=own.device))

    def network(self, received: Payload | None, backbone: str, ctx: RoundContext) -> Projected:
        """The global model, or the initial one if nothing was received."""
        net = ctx.build(backbone)
        if self.size:
            projection = ctx.build_module("projection", inputs=net.embedding_size, outputs=self.size)
            output = ctx.build_module("output", in_features=self.size, out_features=ctx.task.outputs)
            model = Projected(net, projection, output)
        else:
            model = Projected(net, nn.Identity(), net.head)
        if received is not None:
            received.load_into(model, partial=True)
        return model

    def global_predictors(self, received: Payload | None, backbone: str, ctx: RoundContext) -> Mapping[str, nn.Module]:
        """The global model."""
        return {"global": self.network(received, backbone, ctx)}


@hookimpl
def fedbench_register_local_updates() -> Mapping[str, type[LocalUpdate]]:
    """The local update."""
    return {"moon": Moon}


@hookimpl
def fedbench_register_methods() -> Mapping[str, Method]:
    """The method."""
    summary = "FedAvg with a contrastive term: representations near the global model's, far from the client's last."
    return {"moon": Method("moon", control=Control("moon", {"local_update.mu": 0.0}), paper=PAPER, summary=summary)}
