"""Reference methods: local and centralized training, without and with fine-tuning; the most frequent class."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from fedbench_core.api import (
    Client,
    LocalUpdate,
    LogUniform,
    Method,
    ModuleFactory,
    Payload,
    RoundContext,
    Task,
    Update,
)
from fedbench_core.learning import fine_tune, fit, merged


class Constant(nn.Module):
    """Returns the same logits (classes,) for every image."""

    logits: Tensor

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.register_buffer("logits", logits)

    def forward(self, images: Tensor) -> Tensor:
        """The logits (b, classes)."""
        return self.logits.expand(len(images), -1)


@dataclass(frozen=True)
class Local(LocalUpdate):
    """Train the client's own model on its own images and send nothing."""

    def setup(self, client: Client, ctx: RoundContext) -> None:
        """Create the model that the client keeps."""
        client.models["model"] = ctx.build(client.backbone)

    def train(self, client: Client, received: Payload | None, ctx: RoundContext) -> Update:
        """Continue to train the model."""
        metrics = fit(client.models["model"], client.train, ctx)
        return Update(None, len(client.train), metrics)

    def predictors(self, client: Client, received: Payload | None, ctx: RoundContext) -> Mapping[str, nn.Module]:
        """The model."""
        return {"model": client.models["model"]}


@dataclass(frozen=True)
class FineTuned(Local):
    """As `local`; before they predict, clients train a copy of the model on their own images."""

    personalizes: ClassVar[bool] = True
    finetune_epochs: Annotated[int, Field(ge=1, description="local epochs of fine-tuning")] = 1
    finetune_lr: Annotated[
        float, Field(gt=0, description="learning rate of fine-tuning, as a multiple of --lr"), LogUniform(0.01, 1)
    ] = 0.1

    def predictors(self, client: Client, received: Payload | None, ctx: RoundContext) -> Mapping[str, nn.Module]:
        """The model after fine-tuning."""
        tuned = merged(client.models["model"], None, client.backbone, ctx)
        fine_tune(tuned, client.train, ctx, self.finetune_epochs, self.finetune_lr)
        return {"tuned": tuned}


@dataclass(frozen=True)
class Majority(LocalUpdate):
    """Predict the client's most frequent training class for every image; train and send nothing."""

    personalizes: ClassVar[bool] = True
    modules: ClassVar[Mapping[str, ModuleFactory]] = {"constant": Constant}

    def train(self, client: Client, received: Payload | None, ctx: RoundContext) -> Update:
        """Takes no step; `loss` is that of the prediction on the training images."""
        labels = client.train.targets()
        logits = class_logits(labels, ctx.task).expand(len(labels), -1)
        return Update(None, len(labels), {"loss": float(ctx.task.loss(logits, labels)), "steps": 0})

    def predictors(self, client: Client, received: Payload | None, ctx: RoundContext) -> Mapping[str, nn.Module]:
        """The constant prediction."""
        return {"majority": Constant(class_logits(client.train.targets(), ctx.task).to(ctx.device))}


def class_logits(labels: Tensor, task: Task) -> Tensor:
    """Logits (classes,) whose probabilities are the shares of the classes among `labels`, with one image more of each.

    The most frequent class has the largest; of several, the first. Multi-label: with one image more that has the label,
    and one that has not. The additional images keep the logits of an absent class finite.
    """
    counts = task.members(labels).sum(dim=0).double() + 1
    shares = counts / (len(labels) + 2) if task.kind == "multi-label" else counts / counts.sum()
    logits = shares.logit() if task.kind == "multi-label" else shares.log()
    return logits.to(torch.float32)


LOCAL_UPDATES = {"local": Local, "fine-tuned": FineTuned, "majority": Majority}
METHODS = {
    "local": Method(
        local_update="local",
        mixed_backbones=True,
        baseline="steps",
        summary="Every client trains alone on its own images; nothing is sent.",
    ),
    "centralized": Method(
        local_update="local",
        data="centralized",
        baseline="centralized",
        summary="One model is trained on the images of all clients in one place.",
    ),
    "centralized-ft": Method(
        local_update="fine-tuned",
        data="centralized",
        summary="One model is trained on the images of all clients, and fine-tuned by each client on its own.",
    ),
    "majority": Method(
        local_update="majority",
        mixed_backbones=True,
        learns=False,
        baseline="majority",
        summary="Every client predicts its most frequent training class; nothing is trained or sent.",
    ),
}
