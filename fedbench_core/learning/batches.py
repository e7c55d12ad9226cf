"""The order in which a client sees its images: one rule for all methods, so that methods are paired."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from fedbench_core.api import Examples, Indices, RoundContext, Training
from fedbench_core.api.seeds import Word
from fedbench_core.learning.augmentation import augmented

# Images are read and scaled in blocks of several batches: one call instead of hundreds, with flat memory.
_BLOCK_BYTES = 2**24
BATCHES: tuple[Word, ...] = ("batches",)
"""The stream that orders the images of local training."""


class Data(Protocol):
    """Anything to train on: a client's examples, public images, or `TensorData`."""

    @property
    def item_bytes(self) -> int:
        """The size of one input as a float32 tensor."""
        ...

    def __len__(self) -> int: ...

    def tensors(self, positions: Indices) -> tuple[Tensor, Tensor]:
        """Inputs and labels at these positions, on the device of the run."""
        ...


@dataclass(frozen=True)
class TensorData:
    """Tensors to train on, such as prototypes: inputs (n, ...) and labels (n,)."""

    inputs: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def item_bytes(self) -> int:
        """The size of one input."""
        return self.inputs[:1].nbytes

    def tensors(self, positions: Indices) -> tuple[Tensor, Tensor]:
        """The rows at these positions."""
        rows = torch.from_numpy(positions).to(self.inputs.device)
        return self.inputs[rows], self.labels[rows]


@dataclass(frozen=True)
class Batch:
    """Images (or other inputs) and labels of one step, and their positions in the data (b,)."""

    images: Tensor
    labels: Tensor
    indices: Tensor


def positions(count: int, training: Training, rng: np.random.Generator) -> Iterator[Indices]:
    """Positions of each batch among `count` images, until the local budget is used up.

    Every epoch is a new permutation. A last batch of one image is added to the batch before it, because BatchNorm
    needs a variance; a client that has only one image sees it twice.
    """
    steps = 0
    epoch = 0
    while training.steps is not None or epoch < training.epochs:
        order = rng.permutation(count)
        for batch in np.split(order, _cuts(count, training.batch_size)):
            if steps == training.steps:
                return
            yield batch if len(batch) > 1 else np.repeat(batch, 2)
            steps += 1
        epoch += 1


def _cuts(count: int, batch_size: int) -> list[int]:
    return [cut for cut in range(batch_size, count, batch_size) if batch_size == 1 or count - cut > 1]


def batches(data: Data, ctx: RoundContext, who: tuple[Word, ...] = BATCHES) -> Iterator[Batch]:
    """The batches of the local budget, in the order that the stream `who` of this node draws.

    A client's examples are augmented as the recipe says, by draws of the stream ("augmentation", *who). Public images
    and tensors are not: what they are compared with was computed for them as they are.
    """
    order = positions(len(data), ctx.training, ctx.rng(*who))
    kind = ctx.training.augmentation if isinstance(data, Examples) else "none"
    draws = ctx.rng("augmentation", *who)
    per_block = max(1, _BLOCK_BYTES // max(1, data.item_bytes * ctx.training.batch_size))
    while taken := list(islice(order, per_block)):
        chosen = np.concatenate(taken)
        images, labels = data.tensors(chosen)
        images = augmented(images, kind, draws)
        sizes = [len(batch) for batch in taken]
        parts = (torch.split(tensor, sizes) for tensor in (images, labels, torch.from_numpy(chosen)))
        yield from (Batch(*part) for part in zip(*parts, strict=True))
