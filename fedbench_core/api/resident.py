"""What a process keeps on its GPU: copies of images, so that batches are picked there instead of being sent."""

import weakref

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

_PART = 4
_ROWS = 1024
"""Images that are sent at once, so that the CPU never holds a second copy of all."""
_held: dict[tuple[int, str], Tensor | None] = {}


def spare_bytes(device: str) -> int:
    """A quarter of the memory that is free on a GPU, in bytes; 0 on the CPU, where nothing need be moved."""
    return torch.cuda.mem_get_info(device)[0] // _PART if device != "cpu" and torch.cuda.is_available() else 0


def resident(images: npt.NDArray[np.uint8], device: str) -> Tensor | None:
    """All images on a GPU, as long as `images` exists; None on the CPU, and where they exceed `spare_bytes`."""
    key = (id(images), device)
    if key not in _held:
        _held[key] = _copy(images, device) if 0 < images.nbytes <= spare_bytes(device) else None
        weakref.finalize(images, _held.pop, key, None)
    return _held[key]


def _copy(images: npt.NDArray[np.uint8], device: str) -> Tensor:
    copy = torch.empty(images.shape, dtype=torch.uint8, device=device)
    for start in range(0, len(images), _ROWS):
        copy[start : start + _ROWS] = torch.from_numpy(np.array(images[start : start + _ROWS]))
    return copy
