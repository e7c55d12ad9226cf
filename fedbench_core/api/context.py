"""What a part is told about the moment it acts in."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from fedbench_core.api.seeds import Word, stream, torch_seed
from fedbench_core.api.task import Task
from fedbench_core.api.training import Training


@dataclass(frozen=True)
class Outputs:
    """What a backbone gives for a batch of b images.

    logits: (b, outputs); embedding: (b, d), what the head reads; maps: one (b, c, h, w) per stage end, the last is
    the feature map.
    """

    logits: Tensor
    embedding: Tensor
    maps: tuple[Tensor, ...]


class Backbone(nn.Module):
    """A network that classifies images; calling it gives logits, `outputs` everything else too."""

    name: str
    """The exact id of the architecture, such as `mobilenetv3_small_100`."""
    embedding_size: int
    """The length of one embedding."""

    def outputs(self, images: Tensor) -> Outputs:
        """Logits, embeddings and maps of `images` (b, C, H, W); the logits are those of a plain call, to the bit."""
        raise NotImplementedError


class Build(Protocol):
    """Lends a backbone for the length of a turn."""

    def __call__(self, backbone: str, role: str = "") -> Backbone:
        """A backbone with the initial weights of the stream (seed, "init", backbone, role)."""
        ...


def _unbuildable(backbone: str, role: str = "") -> Backbone:
    raise NotImplementedError(f"this context lends no backbones (asked for {backbone!r}, role {role!r})")


@dataclass(frozen=True)
class RoundContext:
    """One moment of a run: which round and step of how many, and the streams that belong to it."""

    round: int
    rounds: int
    step: int
    seed: int
    task: Task
    training: Training
    device: str = "cpu"
    build: Build | Callable[..., Backbone] = _unbuildable
    clients: int = 1
    """How many clients train in this run, present or not."""

    @property
    def progress(self) -> float:
        """The part of training that is over: 0 in the first round, 1 in the last."""
        return self.round / max(1, self.rounds - 1)

    def rng(self, *who: Word) -> np.random.Generator:
        """A numpy generator for `who` (a purpose, a client's id) in this round and step."""
        return stream(self.seed, *who, self.round, self.step)

    def generator(self, *who: Word) -> torch.Generator:
        """A torch generator (on the CPU) for `who` in this round and step."""
        return torch.Generator().manual_seed(torch_seed(self.seed, *who, self.round, self.step))
