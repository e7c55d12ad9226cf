"""FedProto (Tan et al., AAAI 2022): clients share the mean embedding of each class in place of weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

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
    RequestError,
    RoundContext,
    Update,
    hookimpl,
)
from fedbench_core.learning import Batch, NearestPrototype, class_means, fit, pooled, prototype_distance

PAPER = "Tan et al., FedProto: Federated Prototype Learning across Heterogeneous Clients, AAAI 2022"
MODEL, PROTOTYPES, COUNTS = "model", "prototypes", "counts"


@dataclass(frozen=True)
class FedProto(LocalUpdate):
    """Train the client's own network towards the global prototypes; send the mean embedding of each class."""

    strength: Annotated[
        float,
        Field(ge=0, description="lambda, the weight of the distance; tune it: the paper uses 0.1 to 1"),
        LogUniform(0.05, 50),
    ] = 1.0
    drawn: Annotated[
        Literal["images", "classes"],
        Field(description="what approaches its prototype: each image (public code), or a batch's class means (eq. 8)"),
    ] = "images"
    size: Annotated[int, Field(ge=1, description="length of a prototype; longer embeddings are average-pooled")] = 64

    def check(self, client: Client, ctx: RoundContext) -> list[str]:
        """A note on embeddings that are pooled; RequestError if they are too short."""
        size = ctx.build(client.backbone).embedding_size
        if size < self.size:
            raise RequestError(
                f"fedproto's prototypes have {self.size} entries, but the embeddings of {client.backbone} have {size}. "
                f"Use --set local_update.size={size}, or another backbone."
            )
        note = f"The embeddings of {client.backbone} are average-pooled from {size} to {self.size} entries."
        return [note] if size > self.size else []

    def setup(self, client: Client, ctx: RoundContext) -> None:
        """Create the client's own network."""
        client.models[MODEL] = ctx.build(client.backbone)

    def train(self, client: Client, received: Payload | None, ctx: RoundContext) -> Update:
        """Algorithm 1, LocalUpdate: minimize L_S + lambda L_R (equation 7), then compute prototypes (equation 3)."""
        net = client.models[MODEL]

        def loss(batch: Batch, outputs: Outputs, _net: nn.Module) -> dict[str, Tensor]:
            distance = self.distance(pooled(outputs.embedding, (self.size,)), ctx.task.members(batch.labels), received)
            return {"loss": ctx.task.loss(outputs.logits, batch.labels), "distance": self.strength * distance}

        metrics = fit(net, client.train, ctx, loss=loss)
        means, counts = class_means(
            net, client.train, ctx.task, lambda outputs: pooled(outputs.embedding, (self.size,))
        )
        return Update(Payload({PROTOTYPES: means, COUNTS: counts}), len(client.train), metrics)

    def predictors(self, client: Client, received: Payload | None, ctx: RoundContext) -> Mapping[str, nn.Module]:
        """Prediction by the nearest global prototype (equation 4), and by the head; multi-label: by the head alone."""
        net = client.models[MODEL]
        if ctx.task.kind == "multi-label":
            return {"head": net}
        return {"nearest": self._nearest(net, received, ctx), "head": net}

    def distance(self, embeddings: Tensor, members: Tensor, received: Payload | None) -> Tensor:
        """L_R: the distance of embeddings (b, size) to the prototypes of their classes. members: bool (b, classes)."""
        if received is None:
            return embeddings.new_zeros(())
        prototypes, counts = received.tensors[PROTOTYPES], received.tensors[COUNTS]
        if self.drawn == "images":
            return prototype_distance(embeddings, members, prototypes, counts)
        means = members.to(embeddings).T @ embeddings / members.sum(dim=0).clamp(min=1)[:, None]
        both = (counts > 0) & members.any(dim=0)
        distance: Tensor = (means - prototypes)[both].norm(dim=1).sum()
        return distance

    def _nearest(self, net: Backbone, received: Payload | None, ctx: RoundContext) -> NearestPrototype:
        if received is not None:
            return NearestPrototype(net, received.tensors[PROTOTYPES], received.tensors[COUNTS])
        weights = next(net.parameters())
        classes = ctx.task.outputs
        return NearestPrototype(net, weights.new_zeros(classes, self.size), weights.new_zeros(classes))


@hookimpl
def fedbench_register_local_updates() -> Mapping[str, type[LocalUpdate]]:
    """The local update."""
    return {"fedproto": FedProto}


@hookimpl
def fedbench_register_methods() -> Mapping[str, Method]:
    """The method."""
    fedproto = Method(
        "fedproto",
        aggregator="class-means",
        pinned=("aggregator", "topology"),
        mixed_backbones=True,
        control=Control("local"),
        paper=PAPER,
        summary="Clients with any backbones share the mean embedding of each class, and train towards it.",
    )
    return {"fedproto": fedproto}
