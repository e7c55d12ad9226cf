"""Losses that compare the similarities that two networks find between images, locations and regions.

Maps are (b, c, h, w), or (b, c, d, h, w) for volumes. Channels are summed over, so the two maps may differ in their
number and no projection is learned. Every loss is symmetric, and 0 for equal maps. Gradients flow into both maps:
detach the one that should not learn.
"""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from fedbench_core.api import RequestError
from fedbench_core.learning.pooling import pooled

Across = Literal["samples", "regions"]

LEAST_IMAGES = 4
"""The least number of images in a batch for which similarities are compared."""
LEAST_SIDE = 4
"""The least side of a map whose locations are compared."""
CAPS = {2: 14, 3: 6}
"""The largest number of locations per side that are compared, by the number of spatial axes."""
_MAP_DIMS = (4, 5)
# After a rectifier a vector can be almost 0, and the gradient of its normalization, 1 / length, would dominate.
_SHORT = 1e-2


def deepest(maps: Sequence[Tensor]) -> int:
    """The position in `maps` of the last one with at least 4 locations along each spatial axis; RequestError if none.

    The last map of a network can be 1 x 1, which has no locations or regions to compare.
    """
    fit = [stage for stage, map_ in enumerate(maps) if min(map_.shape[2:]) >= LEAST_SIDE]
    if not fit:
        raise RequestError(
            f"its maps have {', '.join(_sides(map_.shape[2:]) for map_ in maps) or 'no'} locations; similarity needs "
            f"a map with at least {LEAST_SIDE} per side. Use a larger --image-size, or another backbone "
            "(--backbones resnet18)."
        )
    return fit[-1]


def matched(first: int, second: int) -> list[tuple[int, int]]:
    """Pairs of positions of equal relative depth, for networks of `first` and `second` stages.

    Stage k of the K stages of the shallower network is paired with stage round(k L / K) of the other's L stages; halves
    are rounded up. The last two are always a pair.
    """
    few, many = min(first, second), max(first, second)
    pairs = [(k - 1, (2 * k * many + few) // (2 * few) - 1) for k in range(1, few + 1)]
    return pairs if first <= second else [(theirs, ours) for ours, theirs in pairs]


def batch_level(first: Tensor, second: Tensor, *, literal: bool = False) -> Tensor:
    """The difference of the similarities between images: |G_1 - G_2|^2 / b for two maps of the same b images.

    G (b, b) has the inner products of the flattened maps of every two images, each row normalized to length 1. The maps
    may differ in channels and size. literal: divided by b^2 as in the paper, whose weight is 3000.
    Source: Tung and Mori, Similarity-Preserving Knowledge Distillation, ICCV 2019.
    """
    difference = _image_products(first) - _image_products(second)
    return difference.square().sum() / len(first) ** (2 if literal else 1)


def pixel_level(first: Tensor, second: Tensor) -> Tensor:
    """The mean squared difference of the similarities between the locations (pixels, voxels) of an image.

    The similarities of a map are the cosines of the channel vectors at every two of its n locations, (b, n, n). Both
    maps are average-pooled to the size of the smaller one, and to 14 x 14 or 6 x 6 x 6 at most.
    Source: pair-wise distillation of Liu et al., Structured Knowledge Distillation, CVPR 2019.
    """
    grid = _grid(first, second)
    ours, theirs = (_vectors(map_, grid) for map_ in (first, second))
    return F.mse_loss(ours @ ours.mT, theirs @ theirs.mT)


def region_level(first: Tensor, second: Tensor, *, across: Across = "samples", regions: int | None = None) -> Tensor:
    """The mean squared difference of the similarities between regions: cosines of the mean channel vectors.

    across "samples": the same region of every two images, (r, b, b) for r regions; "regions": every two regions of an
    image, (b, r, r). regions: their number per side; None is half the locations of `pixel_level`, at least 2.
    RequestError for across="regions" if each region is a single location, because that is `pixel_level`.
    """
    locations = _grid(first, second)
    grid = [max(2, side // 2) if regions is None else min(regions, side) for side in locations]
    if across == "regions" and grid == locations:
        raise RequestError(
            f"{_sides(grid)} regions of a map of {_sides(locations)} are single locations, which the pixel level "
            "compares. Use fewer regions (regions=2), or compare across samples (across=samples)."
        )
    ours, theirs = (_vectors(map_, grid) for map_ in (first, second))
    if across == "samples":
        ours, theirs = ours.transpose(0, 1), theirs.transpose(0, 1)
    return F.mse_loss(ours @ ours.mT, theirs @ theirs.mT)


def _image_products(map_: Tensor) -> Tensor:
    """Inner products of the images, (b, b), each row normalized to length 1."""
    rows = map_.flatten(1)
    return F.normalize(rows @ rows.mT, dim=1)


def _grid(first: Tensor, second: Tensor) -> list[int]:
    """The locations along each spatial axis that are compared."""
    if first.dim() != second.dim() or first.dim() not in _MAP_DIMS:
        raise ValueError(f"expected two maps (b, c, h, w) or two (b, c, d, h, w); got {first.shape}, {second.shape}")
    cap = CAPS[first.dim() - 2]
    return [min(*sides, cap) for sides in zip(first.shape[2:], second.shape[2:], strict=True)]


def _vectors(map_: Tensor, grid: Sequence[int]) -> Tensor:
    """The mean channel vector in every cell of `grid`, normalized to length 1: (b, cells, c)."""
    return F.normalize(pooled(map_, grid).flatten(2), dim=1, eps=_SHORT).mT


def _sides(grid: Sequence[int]) -> str:
    return " x ".join(map(str, grid))
