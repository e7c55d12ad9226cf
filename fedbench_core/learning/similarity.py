"""Losses that compare how two networks relate what they see: two images, two locations, two regions.

Channels are contracted, so the two need not have the same number of them: no projection is learned. Maps are
(b, c, h, w), or (b, c, d, h, w) for volumes. Every loss is symmetric, and 0 for a map with itself; gradients flow into
both sides: detach the one that is not to learn.
"""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from fedbench_core.api import RequestError

Across = Literal["samples", "regions"]

LEAST_IMAGES = 4
"""Fewer images in a batch say nothing about how images relate."""
LEAST_SIDE = 4
"""Maps with a shorter side say nothing about how locations relate."""
CAPS = {2: 14, 3: 6}
"""Locations per side that are compared at most, by the number of a map's spatial axes."""
_MAP_DIMS = (4, 5)
# Where a rectifier left almost nothing, the gradient of a unit vector, which is 1 / its length, would drown the rest.
_SHORT = 1e-2


def deepest(maps: Sequence[Tensor]) -> int:
    """The position in `maps` of the last one with at least 4 locations along each spatial axis.

    The last map of a network can be 1x1, and then has no locations or regions to relate. RequestError if none fits.
    """
    fit = [stage for stage, map_ in enumerate(maps) if min(map_.shape[2:]) >= LEAST_SIDE]
    if not fit:
        raise RequestError(
            f"its maps have {', '.join(_sides(map_.shape[2:]) for map_ in maps) or 'no'} locations; similarity needs "
            f"one with at least {LEAST_SIDE} per side. Use a larger --image-size, or another backbone, such as "
            "resnet18."
        )
    return fit[-1]


def matched(first: int, second: int) -> list[tuple[int, int]]:
    """Pairs of positions of equal relative depth, for networks of `first` and `second` stages.

    Stage k of the K of the shallower network goes with stage round(k L / K) of the other's L, halves rounded up; the
    last always goes with the last.
    """
    few, many = min(first, second), max(first, second)
    pairs = [(k - 1, (2 * k * many + few) // (2 * few) - 1) for k in range(1, few + 1)]
    return pairs if first <= second else [(theirs, ours) for ours, theirs in pairs]


def batch_level(first: Tensor, second: Tensor, *, literal: bool = False) -> Tensor:
    """How differently two networks relate the images of a batch: |G_1 - G_2|^2 / b for two maps of the same b images.

    G holds the products of the flattened maps of every two images, each row of unit length; the maps may differ in
    channels and in size. literal: divided by b^2, which the authors weight by 3000.
    Source: Tung and Mori, Similarity-Preserving Knowledge Distillation, ICCV 2019.
    """
    difference = _image_products(first) - _image_products(second)
    return difference.square().sum() / len(first) ** (2 if literal else 1)


def pixel_level(first: Tensor, second: Tensor) -> Tensor:
    """How differently two networks relate the locations (pixels, voxels) of an image: a mean squared difference.

    What is compared are the cosines between the channel vectors of every two of an image's n locations, (b, n, n) per
    map. Both maps are averaged down to the smaller one's grid, and that to 14 x 14 or 6 x 6 x 6.
    Source: pair-wise distillation of Liu et al., Structured Knowledge Distillation, CVPR 2019.
    """
    grid = _grid(first, second)
    ours, theirs = (_vectors(map_, grid) for map_ in (first, second))
    return F.mse_loss(ours @ ours.mT, theirs @ theirs.mT)


def region_level(first: Tensor, second: Tensor, *, across: Across = "samples", regions: int | None = None) -> Tensor:
    """How differently two networks relate regions: a mean squared difference of cosines between regions' mean vectors.

    across "samples": the same region of every two images, (r, b, b) for r regions; "regions": every two regions of an
    image, (b, r, r). regions: how many per side; None is half the locations that `pixel_level` compares, at least 2.
    RequestError if regions were to be related within an image and each is a single location: that is `pixel_level`.
    """
    locations = _grid(first, second)
    grid = [max(2, side // 2) if regions is None else min(regions, side) for side in locations]
    if across == "regions" and grid == locations:
        raise RequestError(
            f"Regions within an image are to be compared, but {_sides(grid)} regions of a map of {_sides(locations)} "
            "are single locations, which the pixel level compares. Ask for fewer regions, or compare across samples."
        )
    ours, theirs = (_vectors(map_, grid) for map_ in (first, second))
    if across == "samples":
        ours, theirs = ours.transpose(0, 1), theirs.transpose(0, 1)
    return F.mse_loss(ours @ ours.mT, theirs @ theirs.mT)


def _image_products(map_: Tensor) -> Tensor:
    """(b, b), rows of unit length."""
    rows = map_.flatten(1)
    return F.normalize(rows @ rows.mT, dim=1)


def _grid(first: Tensor, second: Tensor) -> list[int]:
    """Locations along each spatial axis that both maps can give, capped."""
    if first.dim() != second.dim() or first.dim() not in _MAP_DIMS:
        raise ValueError(f"expected two maps (b, c, h, w) or two (b, c, d, h, w); got {first.shape}, {second.shape}")
    cap = CAPS[first.dim() - 2]
    return [min(*sides, cap) for sides in zip(first.shape[2:], second.shape[2:], strict=True)]


def _vectors(map_: Tensor, grid: Sequence[int]) -> Tensor:
    """The mean channel vector in every cell of `grid`, of unit length: (b, cells, c)."""
    if list(map_.shape[2:]) != list(grid):
        pool = nn.AdaptiveAvgPool2d if map_.dim() == _MAP_DIMS[0] else nn.AdaptiveAvgPool3d
        map_ = pool(tuple(grid))(map_)
    return F.normalize(map_.flatten(2), dim=1, eps=_SHORT).mT


def _sides(grid: Sequence[int]) -> str:
    return " x ".join(map(str, grid))
