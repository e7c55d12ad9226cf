"""Random changes of training images: each image of a batch has draws of its own.

Images are (b, C, H, W) in [-1, 1], as `Examples.tensors` returns them; the slices of a volume are its channels and
change together. Black is -1.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fedbench_core.api.training import Augmentation

ROTATION, SHIFT, CONTRAST, BRIGHTNESS = 15.0, 1 / 16, 0.1, 0.1
"""Of `medical`, at most: degrees, a part of the side, and changes of contrast and of brightness."""
CROP = 1 / 8
"""Of `flip-crop`: the padding on each side, as a part of the side."""
_DRAWS = 7


def augmented(images: Tensor, kind: Augmentation, rng: np.random.Generator) -> Tensor:
    """New images (b, C, H, W), changed with draws from `rng`: as many per image for every kind and image size.

    flip: mirrored left to right, half of them; flip-crop: also shifted by up to an eighth of the side, black moves in.
    medical: mirrored left to right and top to bottom, half of them each; rotated by up to 15 degrees; shifted by up to
    a sixteenth of the side; contrast changed by up to 10 % and brightness by up to 0.1 of the range.
    """
    if kind == "none":
        return images
    draws = torch.from_numpy(rng.random((len(images), _DRAWS), np.float32)).to(images.device)
    flips, rest = draws[:, :2] < 0.5, 2 * draws[:, 2:] - 1  # noqa: PLR2004  # half of the images
    images = _flipped(images, flips[:, 0], axis=-1)
    if kind == "flip-crop":
        return _shifted(images, rest[:, 1:3])
    if kind == "medical":
        return _relit(_moved(_flipped(images, flips[:, 1], axis=-2), *rest[:, :3].T), *rest[:, 3:].T)
    return images


def _flipped(images: Tensor, which: Tensor, axis: int) -> Tensor:
    return torch.where(which.view(-1, 1, 1, 1), images.flip(axis), images)


def _shifted(images: Tensor, by: Tensor) -> Tensor:
    """Shifted by whole pixels: `by` (b, 2), in [-1, 1], of the padding right and down."""
    height, width = images.shape[2:]
    pads = [math.ceil(side * CROP) for side in (height, width)]
    padded = F.pad(images, (pads[1], pads[1], pads[0], pads[0]), value=-1.0)
    # 2 pad + 1 positions that are equally likely; a draw is less than 1, so the last one is not exceeded
    starts = [((1 - by[:, 1 - axis]) / 2 * (2 * pad + 1)).long().clamp(max=2 * pad) for axis, pad in enumerate(pads)]
    rows = (starts[0][:, None] + torch.arange(height, device=images.device)).view(-1, 1, height, 1)
    columns = (starts[1][:, None] + torch.arange(width, device=images.device)).view(-1, 1, 1, width)
    which = torch.arange(len(images), device=images.device).view(-1, 1, 1, 1)
    channels = torch.arange(images.shape[1], device=images.device).view(1, -1, 1, 1)
    return padded[which, channels, rows, columns]


def _moved(images: Tensor, turn: Tensor, right: Tensor, down: Tensor) -> Tensor:
    """Rotated and shifted, bilinear; all in [-1, 1], of the largest change."""
    angle = turn * math.radians(ROTATION)
    # affine_grid maps positions of the result to positions of the image, in units of half a side
    first = torch.stack([angle.cos(), -angle.sin(), -2 * SHIFT * right], dim=1)
    second = torch.stack([angle.sin(), angle.cos(), -2 * SHIFT * down], dim=1)
    grid = F.affine_grid(torch.stack([first, second], dim=1), list(images.shape), align_corners=False)
    return F.grid_sample(images + 1, grid, align_corners=False) - 1  # what moves in is 0 there: black


def _relit(images: Tensor, contrast: Tensor, brightness: Tensor) -> Tensor:
    """Contrast around each image's mean, then brightness; both in [-1, 1], of the largest change."""
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    scale, offset = 1 + CONTRAST * contrast.view(-1, 1, 1, 1), 2 * BRIGHTNESS * brightness.view(-1, 1, 1, 1)
    return ((images - mean) * scale + mean + offset).clamp(-1, 1)
