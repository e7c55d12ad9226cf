"""Stems for small images: a stem made for 224 pixels reduces an image of 28 pixels to 7 before the first stage."""

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import nn

Stem = Literal["auto", "timm", "small"]
SMALL_IMAGE = 32
"""Largest image, in pixels per side, for which `auto` selects `small`."""
PATCHES = 7
"""Patches per side at the last stage of a transformer with a small stem, if the image is large enough."""
_KERNEL = 3
_STEM_DEPTH = 3
"""Most convolutions in a stem: a max-pool behind more of them belongs to the stages."""


def is_small(stem: Stem, image_size: int) -> bool:
    """Whether a network for images of `image_size` pixels per side gets a small stem."""
    return stem == "small" or (stem == "auto" and image_size <= SMALL_IMAGE)


def create(name: str, *, small: bool, image_size: int, **arguments: Any) -> nn.Module:
    """The timm network `name` for images of `image_size` pixels per side; `arguments` go to `timm.create_model`.

    small: use smaller patches in a transformer, and `shrink` every other network. The image size is passed to networks
    with a fixed input size. timm's exceptions for unsupported sizes are not caught.
    """
    import timm  # noqa: PLC0415  # takes two seconds to import

    patch = None
    config: Any = timm.get_pretrained_cfg(name)
    if config.fixed_input_size:
        with torch.device("meta"):  # needs no memory and draws no random numbers
            skeleton = timm.create_model(name)
        patch = _patch(skeleton, image_size) if small else None
        # without the stem's strides, the stages get feature maps as large as those of a larger image
        enlarged = image_size if patch or not small else image_size * shrink(skeleton)
        arguments |= {"img_size": enlarged, "patch_size": patch}
    net = timm.create_model(name, **arguments)
    if small and not patch:
        shrink(net)
    return net


def shrink(net: nn.Module) -> int:
    """Replace the stem of a convolutional network, in place: a 3x3 first convolution with stride 1 and no max-pool.

    Returns the factor by which feature maps behind the stem are larger than before. A larger kernel is cropped to its
    center and multiplied by old size / new size, which gives the standard deviation of a new 3x3 kernel. No random
    numbers are drawn, and the center of pretrained kernels is kept.
    """
    factor = 1
    for conv in _first_convolutions(net):
        factor = conv.stride[0]
        conv.stride = (1, 1)
        _crop_kernel(conv)
    pool = _stem_pool(net)
    if pool:
        parent, _, child = pool.rpartition(".")
        factor *= 2
        setattr(net.get_submodule(parent), child, nn.Identity())
    return factor


def _crop_kernel(conv: nn.Conv2d) -> None:
    side = conv.kernel_size[0]
    if side <= _KERNEL:
        return
    start = (side - _KERNEL) // 2
    inner = slice(start, start + _KERNEL)
    conv.weight = nn.Parameter(conv.weight.detach()[:, :, inner, inner].clone() * (side / _KERNEL))
    conv.kernel_size = (_KERNEL, _KERNEL)
    # padding 0 is kept: the convolution extracts patches, or pads the image itself as in TensorFlow
    conv.padding = tuple(min(int(p), 1) for p in conv.padding)


def _first_convolutions(net: nn.Module) -> Iterator[nn.Conv2d]:
    """The first convolution, or several in parallel."""
    config: Any = net.pretrained_cfg
    names = config["first_conv"]
    for name in (names,) if isinstance(names, str) else names:
        module = net.get_submodule(name)
        for part in module.modules():
            if isinstance(part, nn.Conv2d):
                yield part
                break


def _stem_pool(net: nn.Module) -> str:
    """The name of the strided max-pool in the stem; "" if there is none."""
    depth = 0
    for name, module in net.named_modules():
        depth += isinstance(module, nn.Conv2d)
        if depth > _STEM_DEPTH:
            break
        if isinstance(module, nn.MaxPool2d) and module.stride not in (1, (1, 1)):
            return str(name)
    return ""


def _patch(skeleton: nn.Module, image_size: int) -> int | None:
    """The largest patch size that leaves PATCHES per side at the last stage, or 1; None for a network without patches.

    It divides the image size and is at most the network's own patch size.
    """
    from timm.layers.patch_embed import PatchEmbed  # noqa: PLC0415  # takes two seconds to import

    embed = next((m for m in skeleton.modules() if isinstance(m, PatchEmbed)), None)
    if embed is None:
        return None
    info: Any = getattr(skeleton, "feature_info", None)
    own = embed.patch_size[0]
    merging = info[-1]["reduction"] // own if info else 1
    possible = [p for p in range(1, own + 1) if image_size % p == 0 and image_size // p >= PATCHES * merging]
    return max(possible, default=1)
