"""The order in which a client sees its images: one rule for all methods, so that methods are paired."""

from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from fedbench_core.api import Client, Examples, Indices, RoundContext, Training

# Images are fetched and scaled in blocks of several batches: one call instead of hundreds, yet flat in memory.
_BLOCK_BYTES = 2**24


def positions(count: int, training: Training, rng: np.random.Generator) -> Iterator[Indices]:
    """Positions of each batch among `count` images, until the local budget is spent.

    Every epoch is a fresh permutation. A last batch of one image joins the batch before it, because BatchNorm has no
    variance to divide by; a client that has only one image sees it twice.
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


def batches(client: Client, ctx: RoundContext) -> Iterator[tuple[Tensor, Tensor]]:
    """Images and labels of each training batch of this turn, on the context's device."""
    order = positions(len(client.train), ctx.training, ctx.rng("batches", client.id))
    block = max(1, _BLOCK_BYTES // (_image_bytes(client.train) * ctx.training.batch_size))
    while taken := list(islice(order, block)):
        images, labels = client.train.tensors(np.concatenate(taken))
        sizes = [len(batch) for batch in taken]
        yield from zip(torch.split(images, sizes), torch.split(labels, sizes), strict=True)


def _image_bytes(examples: Examples) -> int:
    return 4 * int(np.prod(examples.images.shape[1:]))
