"""FedProto (Tan et al., AAAI 2022): what travels is what each class looks like to a network, never the network."""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from fedbench_core.api import Accumulator, Aggregator, LocalUpdate, Method, Payload, RequestError, Update, hookimpl
from fedbench_core.learning import Agreement, batches, optimizer

PAPER = "Tan et al., FedProto: Federated Prototype Learning across Heterogeneous Clients, AAAI 2022"
PROTOTYPES, COUNTS = "prototypes", "counts"
_AT_ONCE = 256


@dataclass(frozen=True)
class FedProto(LocalUpdate):
    """Train one's own network, drawn to the global prototypes, and say the mean embedding of each of one's classes."""

    strength: Annotated[float, Field(ge=0, description="lambda; tune it, the paper used 0.1 to 1")] = 1.0
    drawn: Annotated[
        Literal["images", "classes"],
        Field(description="to its global prototype: each image (published code), or a batch's class means (eq. 8)"),
    ] = "images"
    size: Annotated[int, Field(ge=1, description="length of a prototype; longer embeddings are averaged down")] = 64

    def check(self, client, ctx):
        """A note on embeddings that are averaged down; RequestError for those that are too short."""
        size = ctx.build(client.backbone).embedding_size
        if size < self.size:
            raise RequestError(
                f"fedproto's prototypes have {self.size} entries, but the embeddings of {client.backbone} have {size}. "
                f"Use --set local_update.size={size}, or another backbone."
            )
        return [f"The embeddings of {client.backbone} are averaged from {size} to {self.size} entries."] * (
            size > self.size
        )

    def setup(self, client, ctx):
        """The client's own network."""
        client.models["model"] = ctx.build(client.backbone)

    def train(self, client, received, ctx):
        """Algorithm 1, LocalUpdate: minimize L_S + lambda L_R (equation 7), then find the prototypes (equation 3)."""
        net = client.models["model"].train()
        step = optimizer(net.parameters(), ctx.training)
        totals, seen, steps = torch.zeros(2, device=ctx.device), 0, 0
        for images, labels in batches(client, ctx):
            outputs = net.outputs(images)
            loss = ctx.task.loss(outputs.logits, labels)
            distance = self.distance(shortened(outputs, self.size), ctx.task.members(labels), received)
            step.zero_grad()
            (loss + self.strength * distance).backward()
            step.step()
            totals += len(images) * torch.stack([loss.detach(), distance.detach()])
            seen, steps = seen + len(images), steps + 1
        loss, distance = (totals.double() / max(1, seen)).tolist()
        said = prototypes(net, client.train, ctx.task, self.size)
        return Update(said, len(client.train), {"loss": loss, "distance": distance, "steps": steps})

    def predictors(self, client, received, ctx):
        """The nearest global prototype (equation 4), then the own head; where images have several labels, the head."""
        net = client.models["model"]
        if ctx.task.kind == "multi-label":
            return {"head": net}
        return {"nearest": Nearest(net, received, ctx.task.outputs, self.size), "head": net}

    def distance(self, embeddings, members, received):
        """L_R: how far the embeddings (b, size) of images of these classes (b, classes) are from what was received."""
        if received is None:
            return embeddings.new_zeros(())
        targets, known = received.tensors[PROTOTYPES], received.tensors[COUNTS] > 0
        if self.drawn == "classes":
            means = members.to(embeddings).T @ embeddings / members.sum(dim=0).clamp(min=1)[:, None]
            return (means - targets)[known & members.any(dim=0)].norm(dim=1).sum()
        squares = (embeddings[:, None] - targets).square().mean(dim=2)
        drawn = (members & known).to(embeddings)
        return ((squares * drawn).sum(dim=1) / drawn.sum(dim=1).clamp(min=1)).mean()


class Nearest(nn.Module):
    """Classifies by the nearest prototype; by the network's head as long as there are none."""

    def __init__(self, net, received, classes, size):
        super().__init__()
        self.net, self.size = net, size
        self.register_buffer(
            PROTOTYPES, torch.zeros(classes, size) if received is None else received.tensors[PROTOTYPES]
        )
        self.register_buffer(COUNTS, torch.zeros(classes) if received is None else received.tensors[COUNTS])

    def forward(self, images):
        """Minus the distances to the prototypes: the nearest is the likeliest, an unknown class impossible."""
        outputs = self.net.outputs(images)
        if not self.counts.any():
            return outputs.logits
        distances = torch.cdist(shortened(outputs, self.size), self.prototypes)
        return -distances.masked_fill(self.counts == 0, torch.inf)


def shortened(outputs, size):
    """Embeddings (b, size): of that length they are themselves, longer ones are averaged over neighboring entries."""
    return F.adaptive_avg_pool1d(outputs.embedding, size)


@torch.no_grad()
def prototypes(net, examples, task, size):
    """Equation 3: the mean embedding of each class (classes, size), zeros without an image, and how many images."""
    net.eval()
    sums, counts = 0, 0
    for positions in np.split(np.arange(len(examples)), range(_AT_ONCE, len(examples), _AT_ONCE)):
        images, labels = examples.tensors(positions)
        members = task.members(labels).double()
        sums = sums + members.T @ shortened(net.outputs(images), size).double()
        counts = counts + members.sum(dim=0)
    means = sums / counts.clamp(min=1)[:, None]
    return Payload({PROTOTYPES: means.float(), COUNTS: counts.long()})


@dataclass(frozen=True)
class ClassMeans(Aggregator):
    """The mean of each class's row over the clients that have the class; of messages without counts a weighted mean."""

    weighting: Annotated[
        Literal["images", "clients"], Field(description="what counts once (published code: clients)")
    ] = "images"

    def open(self, ctx, memory, standing):
        """A fold over rows; a class that nobody present has keeps what stands."""
        return _ClassMeans(self.weighting, standing)


class _ClassMeans(Accumulator):
    def __init__(self, weighting, standing):
        self.by_image, self.standing = weighting == "images", standing
        self.agreement, self.most, self.sums, self.weights = Agreement(), {}, {}, {}

    def add(self, message):
        self.agreement.add(message)
        counts = message.payload.tensors.get(COUNTS)
        weight = torch.tensor(float(message.weight)) if counts is None else counts[:, None]
        weight = weight.double() if self.by_image else (weight > 0).double()
        for name, tensor in message.payload.tensors.items():
            if tensor.is_floating_point():
                self.sums[name] = self.sums.get(name, 0) + weight * tensor.double()
                self.weights[name] = self.weights.get(name, 0) + weight
            else:
                self.most[name] = torch.maximum(self.most.get(name, tensor), tensor)

    def close(self):
        tensors = dict(self.most)
        for name, total in self.weights.items():
            mean = (self.sums[name] / total.where(total > 0, 1)).to(self.agreement.layout[name][0])
            tensors[name] = mean if self.standing is None else mean.where(total > 0, self.standing.tensors[name])
        if self.standing is not None and COUNTS in tensors:
            tensors[COUNTS] = tensors[COUNTS].where(tensors[COUNTS] > 0, self.standing.tensors[COUNTS])
        return Payload(tensors, self.agreement.meta)


@hookimpl
def fedbench_register_local_updates():
    return {"fedproto": FedProto}


@hookimpl
def fedbench_register_aggregators():
    return {"class-means": ClassMeans}


@hookimpl
def fedbench_register_methods():
    summary = "Clients with networks of any kind share the mean embedding of each class, and are drawn to it."
    parts = {"aggregator": "class-means", "pinned": ("aggregator", "topology"), "mixed_backbones": True}
    return {"fedproto": Method("fedproto", **parts, paper=PAPER, summary=summary)}
