"""Average pooling to a grid, with a gradient that is deterministic on a GPU."""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor


def pooled(tensor: Tensor, sizes: Sequence[int]) -> Tensor:
    """The means over a grid of cells along the last axes, (..., *sizes), as torch's adaptive average pooling has them.

    Cell i of n along an axis of length d is from floor(i d / n) up to ceil((i + 1) d / n). One matrix product per axis:
    the gradient of torch's adaptive pooling has no deterministic kernel on a GPU.
    """
    for axis, size in zip(range(-len(sizes), 0), sizes, strict=True):
        if tensor.shape[axis] != size:
            cells = _cells(tensor.shape[axis], size).to(tensor)
            tensor = (tensor.movedim(axis, -1) @ cells).movedim(-1, axis)
    return tensor


@cache
def _cells(length: int, number: int) -> Tensor:
    """The share of each position (rows) in the mean of each cell (columns)."""
    shares = torch.zeros(length, number, dtype=torch.float64)
    for cell in range(number):
        start, end = cell * length // number, -(-(cell + 1) * length // number)
        shares[start:end, cell] = 1 / (end - start)
    return shares
