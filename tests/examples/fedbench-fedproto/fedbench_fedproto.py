"""FedProto (Tan et al., AAAI 2022): clients share the mean embedding of each class in place of weights."""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from fedbench_core.api import LocalUpdate, Method, Payload, RequestError, Update, hookimpl
from fedbench_core.learning import fit

PAPER = "Tan et al., FedProto: Federated Prototype Learning across Heterogeneous Clients, AAAI 2022"
PROTOTYPES, COUNTS = "prototypes", "counts"
_BATCH = 256


@dataclass(frozen=True)
class FedProto(LocalUpdate):
    """Train the client's own network towards the global prototypes; send the mean embedding of each class."""

    strength: Annotated[
        float, Field(ge=0, description="lambda, the weight of the distance; tune it: the paper uses 0.1 to 1")
    ] = 1.0
    drawn: Annotated[
        Literal["images", "classes"],
        Field(description="what approaches its prototype: each image (public code), or a batch's class means (eq. 8)"),
    ] = "images"
    size: Annotated[int, Field(ge=1, description="length of a prototype; longer embeddings are average-pooled")] = 64

    def check(self, client, ctx):
        """A note on embeddings that are pooled; RequestError if they are too short."""
        size = ctx.build(client.backbone).embedding_size
        if size < self.size:
            raise RequestError(
                f"fedproto's prototypes have {self.size} entries, but the embeddings of {client.backbone} have {size}. "
                f"Use --set local_update.size={size}, or another backbone."
            )
        return [f"The embeddings of {client.backbone} are average-pooled from {size} to {self.size} entries."] * (
            size > self.size
        )

    def setup(self, client, ctx):
        """Create the client's own network."""
        client.models["model"] = ctx.build(client.backbone)

    def train(self, client, received, ctx):
        """Algorithm 1, LocalUpdate: minimize L_S + lambda L_R (equation 7), then compute prototypes (equation 3)."""
        net = client.models["model"]

        def loss(batch, outputs, _net):
            distance = self.distance(shortened(outputs, self.size), ctx.task.members(batch.labels), received)
            return {"loss": ctx.task.loss(outputs.logits, batch.labels), "distance": self.strength * distance}

        metrics = fit(net, client.train, ctx, loss=loss)
        return Update(prototypes(net, client.train, ctx.task, self.size), len(client.train), metrics)

    def predictors(self, client, received, ctx):
        """Prediction by the nearest global prototype (equation 4), and by the head; multi-label: by the head alone."""
        net = client.models["model"]
        if ctx.task.kind == "multi-label":
            return {"head": net}
        return {"nearest": Nearest(net, received, ctx.task.outputs, self.size), "head": net}

    def distance(self, embeddings, members, received):
        """L_R: the distance of embeddings (b, size) to the prototypes of their classes. members: bool (b, classes)."""
        if received is None:
            return embeddings.new_zeros(())
        targets, known = received.tensors[PROTOTYPES], received.tensors[COUNTS] > 0
        if self.drawn == "classes":
            means = members.to(embeddings).T @ embeddings / members.sum(dim=0).clamp(min=1)[:, None]
            return (means - targets)[known & members.any(dim=0)].norm(dim=1).sum()
        squares = (embeddings[:, None] - targets).square().mean(dim=2)
        counted = (members & known).to(embeddings)
        return ((squares * counted).sum(dim=1) / counted.sum(dim=1).clamp(min=1)).mean()


class Nearest(nn.Module):
    """Classifies by the nearest prototype, or by the network's head if there are no prototypes yet."""

    def __init__(self, net, received, classes, size):
        super().__init__()
        self.net, self.size = net, size
        self.register_buffer(
            PROTOTYPES, torch.zeros(classes, size) if received is None else received.tensors[PROTOTYPES]
        )
        self.register_buffer(COUNTS, torch.zeros(classes) if received is None else received.tensors[COUNTS])

    def forward(self, images):
        """The negative distances to the prototypes (b, classes); minus infinity for a class without prototype."""
        outputs = self.net.outputs(images)
        if not self.counts.any():
            return outputs.logits
        distances = torch.cdist(shortened(outputs, self.size), self.prototypes)
        return -distances.masked_fill(self.counts == 0, torch.inf)


def shortened(outputs, size):
    """Embeddings (b, size): longer ones are average-pooled."""
    return F.adaptive_avg_pool1d(outputs.embedding, size)


@torch.no_grad()
def prototypes(net, examples, task, size):
    """Equation 3: the mean embedding of each class (classes, size), 0 without images, and its number of images."""
    net.eval()
    sums, counts = 0, 0
    for positions in np.split(np.arange(len(examples)), range(_BATCH, len(examples), _BATCH)):
        images, labels = examples.tensors(positions)
        members = task.members(labels).double()
        sums = sums + members.T @ shortened(net.outputs(images), size).double()
        counts = counts + members.sum(dim=0)
    means = sums / counts.clamp(min=1)[:, None]
    return Payload({PROTOTYPES: means.float(), COUNTS: counts.long()})


@hookimpl
def fedbench_register_local_updates():
    """The local update."""
    return {"fedproto": FedProto}


@hookimpl
def fedbench_register_methods():
    """The method."""
    summary = "Clients with any backbones share the mean embedding of each class, and train towards it."
    parts = {"aggregator": "class-means", "pinned": ("aggregator", "topology"), "mixed_backbones": True}
    return {"fedproto": Method("fedproto", **parts, paper=PAPER, summary=summary)}
