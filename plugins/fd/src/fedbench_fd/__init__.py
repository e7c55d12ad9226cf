"""Federated distillation (Jeong et al., 2018): clients share the mean logits of each class, and learn from them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from fedbench_core.api import (
    Client,
    Control,
    LocalUpdate,
    LogUniform,
    Method,
    Outputs,
    Payload,
    RoundContext,
    Task,
    Update,
    hookimpl,
)
from fedbench_core.learning import Batch, fit

PAPER = (
    "Jeong et al., Communication-Efficient On-Device Machine Learning: Federated Distillation and Augmentation under "
    "Non-IID Private Data, 2018"
)
MODEL, LOGITS, COUNTS, ROUNDS = "model", "logits", "counts", "rounds"


class ClassSums:
    """The sums of vectors (classes,) of one turn, by the class of their image."""

    def __init__(self, classes: int, device: str) -> None:
        self.sums = torch.zeros(classes, classes, dtype=torch.float64, device=device)
        self.counts = torch.zeros(classes, dtype=torch.int32, device=device)

    def add(self, vectors: Tensor, members: Tensor) -> None:
        """Add vectors (b, classes) of images; members: bool (b, classes)."""
        self.sums += members.double().T @ vectors.detach().double()
        self.counts += members.sum(dim=0)

    def means(self) -> Tensor:
        """The mean vector of each class (classes, classes); 0 for a class without an image."""
        return (self.sums / self.counts.clamp(min=1)[:, None]).float()


@dataclass(frozen=True)
class FD(LocalUpdate):
    """Train the client's own model towards the mean predictions that other clients have for each image's class."""

    strength: Annotated[
        float,
        Field(ge=0, description="gamma, the weight of the distillation; 0 is training alone"),
        LogUniform(0.05, 5),
    ] = 1.0
    average: Annotated[
        Literal["logits", "probabilities"], Field(description="what is averaged; probabilities are taken of the mean")
    ] = "logits"
    weights: Annotated[
        Literal["clients", "images"],
        Field(description="equal for all clients that have a class, or their images of it"),
    ] = "clients"
    leave_one_out: Annotated[bool, Field(description="a client's own part is taken out of the mean")] = True

    def setup(self, client: Client, ctx: RoundContext) -> None:
        """Create the client's own model."""
        client.models[MODEL] = ctx.build(client.backbone)

    def train(self, client: Client, received: Payload | None, ctx: RoundContext) -> Update:
        """Train, and average the predictions of all steps by class."""
        seen = ClassSums(ctx.task.outputs, ctx.device)
        targets, known = (one.to(ctx.device) for one in self.targets(client, received, ctx.task))

        def loss(batch: Batch, outputs: Outputs, _net: nn.Module) -> dict[str, Tensor]:
            members, logits = ctx.task.members(batch.labels), outputs.logits
            seen.add(logits if self.average == "logits" else ctx.task.probabilities(logits), members)
            distillation = distance(ctx.task, logits, members & known, targets)
            return {"loss": ctx.task.loss(logits, batch.labels), "distillation": self.strength * distillation}

        metrics = fit(client.models[MODEL], client.train, ctx, loss=loss)
        counts = seen.counts if self.weights == "images" else (seen.counts > 0).int()
        sent = {LOGITS: seen.means(), COUNTS: counts, ROUNDS: torch.full_like(counts, ctx.round)}
        remember(client, sent)
        return Update(Payload(sent), len(client.train), metrics)

    def targets(self, client: Client, received: Payload | None, task: Task) -> tuple[Tensor, Tensor]:
        """The predictions to learn (classes, classes), and which classes have one (classes,)."""
        if received is None:
            return torch.zeros(task.outputs, task.outputs), torch.zeros(task.outputs, dtype=torch.bool)
        means, counts = received.tensors[LOGITS].double(), received.tensors[COUNTS].double()
        own = {name: value for name, value in client.memory.items() if isinstance(value, Tensor)}
        if self.leave_one_out and own:
            share = own[COUNTS].double() * (own[ROUNDS] == received.tensors[ROUNDS])
            others = counts - share
            means = (counts[:, None] * means - share[:, None] * own[LOGITS]) / others.clamp(min=1)[:, None]
            counts = others
        targets = task.probabilities(means) if self.average == "logits" else means.clamp(min=0)
        return targets.float(), counts > 0

    def predictors(self, client: Client, received: Payload | None, ctx: RoundContext) -> Mapping[str, nn.Module]:
        """The client's own model."""
        return {MODEL: client.models[MODEL]}


def distance(task: Task, logits: Tensor, members: Tensor, targets: Tensor) -> Tensor:
    """The mean cross-entropy of predictions (b, classes) to the targets of their classes; 0 for an image without one.

    members: bool (b, classes). An image with several labels has the mean of their targets.
    """
    chosen = members.to(logits)
    wanted = chosen @ targets.to(logits) / chosen.sum(dim=1, keepdim=True).clamp(min=1)
    if task.kind == "multi-label":
        entropies = nn.functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none").mean(dim=1)
    else:
        entropies = -(wanted * logits.log_softmax(dim=1)).sum(dim=1)
    return (entropies * members.any(dim=1)).mean()


def remember(client: Client, sent: Mapping[str, Tensor]) -> None:
    """Keep what the client sent of each class, and in which round; a class without an image keeps what it had."""
    sends = sent[COUNTS] > 0
    for name, value in sent.items():
        before = client.memory.get(name)
        rows = sends[:, None] if value.ndim > 1 else sends
        client.memory[name] = value.where(rows, before if isinstance(before, Tensor) else torch.full_like(value, -1))


@hookimpl
def fedbench_register_local_updates() -> Mapping[str, type[LocalUpdate]]:
    """The local update."""
    return {"fd": FD}


@hookimpl
def fedbench_register_methods() -> Mapping[str, Method]:
    """The method."""
    fd = Method(
        "fd",
        aggregator="class-means",
        pinned=("aggregator", "aggregator.weighting", "topology"),
        mixed_backbones=True,
        control=Control("local"),
        paper=PAPER,
        summary="Clients with any backbones share the mean logits of each class, and learn from those of the others.",
    )
    return {"fd": fd}
