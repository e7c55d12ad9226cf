"""What a part knows about the moment in which it runs."""

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from fedbench_core.api.backbones import Backbone
from fedbench_core.api.examples import Images
from fedbench_core.api.seeds import Word, stream, torch_seed
from fedbench_core.api.task import Task
from fedbench_core.api.training import Training

Node = int
SERVER: Node = -1
"""The id of the server. Clients have the ids 0 to N - 1."""


class Builder(Protocol):
    """Builds networks with reproducible initial weights."""

    def backbone(self, name: str, role: str) -> Backbone:
        """A backbone with the initial weights of the stream (seed, "init", name, role)."""
        ...

    def module(self, name: str, role: str, sizes: dict[str, int]) -> nn.Module:
        """A declared module with the initial weights of the stream (seed, "init", name, role, sizes)."""
        ...


class _NoBuilder:
    def backbone(self, name: str, role: str) -> Backbone:
        raise NotImplementedError(f"no network can be built here (asked for backbone {name!r}, role {role!r})")

    def module(self, name: str, role: str, sizes: dict[str, int]) -> nn.Module:
        raise NotImplementedError(f"no network can be built here (asked for module {name!r}, role {role!r}, {sizes})")


_NO_BUILDER = _NoBuilder()


@dataclass(frozen=True)
class RoundContext:
    """One phase of one round, as the node that acts in it sees it.

    backbones: of every client, by its id; kind: what the phase is for, as the topology names it; public: images
    without labels that every node has, or None.
    """

    round: int
    rounds: int
    phase: int
    seed: int
    task: Task
    training: Training
    node: Node = SERVER
    kind: str = ""
    device: str = "cpu"
    backbones: tuple[str, ...] = ("",)
    public: Images | None = None
    builder: Builder = _NO_BUILDER

    @property
    def clients(self) -> int:
        """The number of clients that train in this run, participating in this round or not."""
        return len(self.backbones)

    @property
    def progress(self) -> float:
        """The fraction of the rounds that is over: 0 in the first round, 1 in the last."""
        return self.round / max(1, self.rounds - 1)

    @property
    def lr(self) -> float:
        """The learning rate of this round: that of the recipe, multiplied by its schedule."""
        return self.training.lr * self.training.factor(self.round, self.rounds)

    def with_training(self, **changes: Any) -> "RoundContext":
        """The same moment with another recipe: `ctx.with_training(steps=10, lr=0.001)`; `epochs` replace steps.

        `lr` replaces the recipe's, and the schedule still multiplies it. For the same rate in every round add
        `schedule="constant", warmup=0`.
        """
        budget = {"steps": None} if "epochs" in changes else {}
        training = replace(self.training, **{**budget, **changes})
        return replace(self, training=training, task=self.task.under(training))

    def build(self, backbone: str, role: str = "") -> Backbone:
        """A backbone with its initial weights: equal names and roles have equal weights on every node."""
        return self.builder.backbone(backbone, role)

    def build_module(self, name: str, role: str = "", **sizes: int) -> nn.Module:
        """A module that the part declares in `modules`, made with `sizes`, with its initial weights."""
        return self.builder.module(name, role, sizes)

    def rng(self, *who: Word, round: int | None = None, phase: int | None = None) -> np.random.Generator:  # noqa: A002  # the field's word
        """A numpy generator for the purpose `who`, of this node in this round and phase (or in those given)."""
        return stream(self.seed, *who, self.node, *self._moment(round, phase))

    def generator(self, *who: Word, round: int | None = None, phase: int | None = None) -> torch.Generator:  # noqa: A002  # as above
        """A torch generator (on the CPU) for the purpose `who`, of this node in this round and phase."""
        return _generator(self.seed, *who, self.node, *self._moment(round, phase))

    def shared_rng(self, *who: Word, round: int | None = None, phase: int | None = None) -> np.random.Generator:  # noqa: A002  # as above
        """A numpy generator whose draws are the same on all nodes."""
        return stream(self.seed, "shared", *who, *self._moment(round, phase))

    def shared_generator(self, *who: Word, round: int | None = None, phase: int | None = None) -> torch.Generator:  # noqa: A002  # as above
        """A torch generator (on the CPU) whose draws are the same on all nodes."""
        return _generator(self.seed, "shared", *who, *self._moment(round, phase))

    def _moment(self, round_: int | None, phase: int | None) -> tuple[int, int]:
        return self.round if round_ is None else round_, self.phase if phase is None else phase


def _generator(seed: int, *words: Word) -> torch.Generator:
    return torch.Generator().manual_seed(torch_seed(seed, *words))
