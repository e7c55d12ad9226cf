"""The work that every simulator does: clients of random images, a small network, one epoch of SGD per turn."""

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.benchmarks.peers.loads import BATCH, IMAGES, SGD, Load

Images = tuple[Tensor, Tensor]
"""Images (n, 3, 28, 28) and labels (n)."""


class Net(nn.Module):
    """A CNN for ten classes: 1.2 million parameters with load A, 12 thousand with load B."""

    def __init__(self, load: Load) -> None:
        super().__init__()
        first, second = load.channels
        self.one = nn.Conv2d(3, first, 5, padding=2)
        self.two = nn.Conv2d(first, second, 5, padding=2)
        self.hidden = nn.Linear(second * 7 * 7, load.hidden)
        self.head = nn.Linear(load.hidden, 10)

    def maps(self, images: Tensor) -> Tensor:
        """The feature maps (n, channels, 7, 7) of `images`."""
        return F.max_pool2d(self.two(F.max_pool2d(self.one(images).relu(), 2)).relu(), 2)

    def embedding(self, maps: Tensor) -> Tensor:
        """The embeddings (n, hidden) of `maps`."""
        return self.hidden(maps.flatten(1)).relu()

    def forward(self, images: Tensor) -> Tensor:
        """The logits (n, 10) of `images`."""
        return self.head(self.embedding(self.maps(images)))


@cache
def arrays(data: Path) -> Mapping[str, np.ndarray]:
    """The arrays of the npz file `data`, read once per process."""
    with np.load(data) as file:
        return {name: file[name] for name in file if not name.startswith("val")}


def tensors(images: np.ndarray, labels: np.ndarray) -> Images:
    """Images in [0, 1] and their labels."""
    scaled = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().float().div_(255)
    return scaled, torch.from_numpy(labels).long().flatten()


@cache
def client(data: Path, number: int) -> Images:
    """The training images of a client, converted when it first takes part."""
    rows = slice(number * IMAGES, (number + 1) * IMAGES)
    return tensors(arrays(data)["train_images"][rows], arrays(data)["train_labels"][rows])


def test_images(data: Path) -> Images:
    """The 1,000 test images."""
    return tensors(arrays(data)["test_images"], arrays(data)["test_labels"])


def optimizer(parameters: Iterable[nn.Parameter], **options: object) -> torch.optim.Optimizer:
    """A new SGD; fused, which is the fastest on a CPU."""
    return torch.optim.SGD(parameters, **{**SGD, **options}, fused=True)


def train(net: nn.Module, step: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> int:
    """One epoch; returns the number of steps."""
    batches = list(zip(images.split(BATCH), labels.split(BATCH), strict=True))
    for batch, targets in batches:
        step.zero_grad()
        F.cross_entropy(net(batch), targets).backward()
        step.step()
    return len(batches)


@torch.no_grad()
def accuracy(net: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The fraction of `images` that are classified correctly, in batches of 500."""
    correct = [(net(part).argmax(1) == of).sum() for part, of in zip(images.split(500), labels.split(500), strict=True)]
    return float(sum(correct)) / len(labels)
