"""FedDF (Lin et al., NeurIPS 2020): the server distills the clients' ensemble on public images."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from fedbench_core.api import (
    Accumulator,
    Aggregator,
    AggregatorState,
    Backbone,
    Control,
    Images,
    LogUniform,
    Message,
    Method,
    Outputs,
    Payload,
    RequestError,
    RoundContext,
    hookimpl,
)
from fedbench_core.learning import Batch, WeightedMean, fit

PAPER = "Lin et al., Ensemble Distillation for Robust Model Fusion in Federated Learning, NeurIPS 2020"
_AT_ONCE = 256
"""Public images per forward pass of a teacher."""


@dataclass(frozen=True)
class EnsembleDistillation(Aggregator):
    """A weighted mean per architecture, then distilled from the mean logits of all received models."""

    trains: ClassVar[bool] = True
    steps: Annotated[int, Field(ge=0, description="steps of distillation per architecture and round")] = 100
    batch_size: Annotated[int, Field(ge=2, description="public images per step")] = 128
    lr: Annotated[float, Field(gt=0, description="learning rate of Adam"), LogUniform(1e-4, 1e-2)] = 1e-3

    def check(self, ctx: RoundContext) -> list[str]:
        """RequestError without public images."""
        if ctx.public is None and self.steps:
            raise RequestError(
                "aggregator feddf distills on public images, and this run has none. Add --public 0.1, or "
                "--set aggregator.steps=0."
            )
        return []

    def channel(self, state: AggregatorState, client: int, ctx: RoundContext) -> str:
        """One channel per architecture."""
        return ctx.backbones[client]

    def start(self, state: AggregatorState, ctx: RoundContext) -> Accumulator:
        """Holds one network and one float64 sum per architecture, and the sum of all logits."""
        return _Ensemble(self, ctx)


class _Ensemble(Accumulator):
    def __init__(self, part: EnsembleDistillation, ctx: RoundContext) -> None:
        self._part, self._ctx = part, ctx
        self._nets: dict[str, Backbone] = {}
        self._means: dict[str, WeightedMean] = {}
        self._logits: Tensor | None = None

    def add(self, message: Message) -> None:
        backbone = self._ctx.backbones[message.sender]
        self._means.setdefault(backbone, WeightedMean()).add(message)
        if self._part.steps and self._ctx.public is not None:
            logits = predicted(self._net(backbone, message.payload), self._ctx.public)
            self._logits = logits if self._logits is None else self._logits + logits

    def result(self) -> dict[str, Payload]:
        return {backbone: self._distilled(backbone, mean.result()) for backbone, mean in sorted(self._means.items())}

    def _distilled(self, backbone: str, mean: Payload) -> Payload:
        if self._logits is None or self._ctx.public is None:
            return mean
        teacher = self._logits / sum(len(one.agreement.senders) for one in self._means.values())
        part, student = self._part, self._net(backbone, mean)
        recipe = {"steps": part.steps, "batch_size": part.batch_size, "lr": part.lr}
        ctx = self._ctx.with_training(**recipe, optimizer="adam", weight_decay=0.0, schedule="constant", warmup=0)

        def loss(batch: Batch, outputs: Outputs, _net: nn.Module) -> Tensor:
            return ctx.task.divergence(teacher[batch.indices.to(teacher.device)], outputs.logits)

        fit(student, self._ctx.public, ctx, loss=loss, who=("distillation", backbone))
        return Payload.of(student)

    def _net(self, backbone: str, weights: Payload) -> Backbone:
        """The one network of an architecture, with these weights."""
        net = self._nets[backbone] = self._nets.get(backbone) or self._ctx.build(backbone)
        weights.load_into(net)
        return net


@torch.no_grad()
def predicted(net: Backbone, images: Images) -> Tensor:
    """The logits of all images in evaluation mode, (n, outputs)."""
    net.eval()
    rows = np.arange(len(images))
    return torch.cat([net(images.tensors(rows[at : at + _AT_ONCE])[0]) for at in range(0, len(rows), _AT_ONCE)])


@hookimpl
def fedbench_register_aggregators() -> Mapping[str, type[Aggregator]]:
    """The aggregator."""
    return {"feddf": EnsembleDistillation}


@hookimpl
def fedbench_register_methods() -> Mapping[str, Method]:
    """The method; its clients are FedAvg's."""
    feddf = Method(
        "fedavg",
        aggregator="feddf",
        pinned=("aggregator",),
        mixed_backbones=True,
        uses_public=True,
        control=Control("feddf", {"aggregator.steps": 0}),
        paper=PAPER,
        summary="FedAvg per architecture, then the server distills the ensemble of all clients on public images.",
    )
    return {"feddf": feddf}
