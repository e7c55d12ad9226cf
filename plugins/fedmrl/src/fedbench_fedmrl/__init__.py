"""FedMRL (Yi et al., NeurIPS 2024): a small shared model and a large private one make nested representations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

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
    ModuleFactory,
    Outputs,
    Payload,
    RequestError,
    RoundContext,
    Update,
    hookimpl,
)
from fedbench_core.learning import Batch, Projected, fit

PAPER = "Yi et al., Federated Model Heterogeneous Matryoshka Representation Learning, NeurIPS 2024"
LARGE, SMALL = "large", "small"
REPRESENTATION, HEAD, FUSION = "representation", "head", "fusion"


class Nested(nn.Module):
    """Both models: the large head reads the fused representation m, the small head its first entries.

    m = P(small representation, large embedding), as long as the large embedding. forward: the logits of `head`.
    """

    def __init__(self, large: Backbone, small: Projected, fusion: nn.Module, role: str) -> None:
        super().__init__()
        self.large, self.small, self.fusion = large, small, fusion
        self.role = self.name = role  # models are identified by their name and weights

    def forward(self, images: Tensor) -> Tensor:
        """Logits (b, classes)."""
        return self.logits(images, self.large.outputs(images))[self.role]

    def logits(self, images: Tensor, outputs: Outputs) -> dict[str, Tensor]:
        """The logits of both heads; `outputs` are the large network's."""
        short = self.small.represent(self.small.net.outputs(images))
        fused = self.fusion(torch.cat([short, outputs.embedding], dim=1))
        return {LARGE: self.large.head(fused), SMALL: self.small.output(fused[:, : short.shape[1]])}


@dataclass(frozen=True)
class FedMRL(LocalUpdate):
    """Train the client's own model, its copy of the shared small model and the map that joins them; send the small one.

    The small model is a backbone, a linear layer to its representation, and a head on that.
    """

    modules: ClassVar[Mapping[str, ModuleFactory]] = {
        **dict.fromkeys((REPRESENTATION, HEAD, FUSION), nn.Linear),
        "nested": Nested,
    }
    small: Annotated[str, Field(min_length=1, description="backbone of the shared small model")] = (
        "mobilenetv3_small_050"
    )
    size: Annotated[
        int, Field(ge=1, description="d1, the length of its representation, less than that of the client's embedding")
    ] = 64
    small_weight: Annotated[
        float, Field(ge=0, description="m_l, the weight of the small head's loss"), LogUniform(0.1, 10)
    ] = 1.0
    share: Annotated[bool, Field(description="false: nothing travels; the same parts train locally")] = True

    @property
    def backbones(self) -> Sequence[str]:
        """The small model's."""
        return (self.small,)

    def check(self, client: Client, ctx: RoundContext) -> Sequence[str]:
        """RequestError if the client's embedding is not longer than the small representation."""
        net, images = ctx.build(client.backbone).eval(), client.train.tensors()[0][:2]
        longer = net.outputs(images).embedding.shape[1]
        ctx.build(self.small, SMALL).eval().outputs(images)
        if longer <= self.size:
            raise RequestError(
                f"fedmrl nests a representation of {self.size} entries in the embedding of {client.backbone}, which "
                f"must be longer and has {longer}. Use --set local_update.size={max(1, longer // 2)}, or another one."
            )
        return ()

    def setup(self, client: Client, ctx: RoundContext) -> None:
        """Create the client's own model, its copy of the small one, and the map P, which stays with the client."""
        client.models[LARGE] = large = ctx.build(client.backbone)
        client.models[SMALL] = small = ctx.build(self.small, SMALL)
        sizes = {
            REPRESENTATION: (small.embedding_size, self.size),
            HEAD: (self.size, ctx.task.outputs),
            FUSION: (self.size + large.embedding_size, large.embedding_size),
        }
        for name, (inputs, outputs) in sizes.items():
            client.modules[name] = ctx.build_module(name, in_features=inputs, out_features=outputs)

    def train(self, client: Client, received: Payload | None, ctx: RoundContext) -> Update:
        """Algorithm 1, the client's part: load the small model, train all parts together, send the small one."""
        model = self.whole(client, LARGE)
        if received is not None and self.share:
            received.load_into(model.small, partial=True)

        def loss(batch: Batch, outputs: Outputs, _net: nn.Module) -> dict[str, Tensor]:
            logits = model.logits(batch.images, outputs)
            losses = {name: ctx.task.loss(one, batch.labels) for name, one in logits.items()}
            return {"loss": losses[LARGE], SMALL: self.small_weight * losses[SMALL]}

        model.train()
        metrics = fit(model.large, client.train, ctx, loss=loss, parameters=list(model.parameters()))
        payload = Payload.of(model.small.used()) if self.share else None
        return Update(payload, len(client.train), metrics)

    def predictors(self, client: Client, received: Payload | None, ctx: RoundContext) -> Mapping[str, nn.Module]:
        """Both heads, with the parts as the client trained them; the paper predicts with the large one."""
        return {name: self.whole(client, name) for name in (LARGE, SMALL)}

    def whole(self, client: Client, role: str) -> Nested:
        """What the client keeps, as one module that predicts with the head of this role."""
        small = Projected(client.models[SMALL], client.modules[REPRESENTATION], client.modules[HEAD])
        return Nested(client.models[LARGE], small, client.modules[FUSION], role)


@hookimpl
def fedbench_register_local_updates() -> Mapping[str, type[LocalUpdate]]:
    """The local update."""
    return {"fedmrl": FedMRL}


@hookimpl
def fedbench_register_methods() -> Mapping[str, Method]:
    """The method."""
    summary = "Clients with any backbones share a small model, whose representation is nested in their own."
    control = Control("fedmrl", {"local_update.share": False})
    own = Method("fedmrl", control=control, mixed_backbones=True, pinned=("topology",), paper=PAPER, summary=summary)
    return {"fedmrl": own}
