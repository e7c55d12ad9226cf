"""Stems for small images: a network made for 224 pixels throws a 28-pixel image away before its first stage."""

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import nn

Stem = Literal["auto", "timm", "small"]
SMALL_IMAGE = 32
"""Up to how many pixels per side `auto` means `small`."""
PATCHES = 7
"""How many patches per side a small stem leaves a transformer's last stage, where the image has that many."""
_KERNEL = 3
_STEM_DEPTH = 3
"""How many convolutions a stem has at most: a max-pool further on belongs to the net's stages."""


def is_small(stem: Stem, image_size: int) -> bool:
    """Whether images of `image_size` pixels per side get a small stem."""
    return stem == "small" or (stem == "auto" and image_size <= SMALL_IMAGE)


def create(name: str, *, small: bool, image_size: int, **arguments: Any) -> nn.Module:
    """The timm network `name` for images of `image_size` pixels per side; `arguments` go to `timm.create_model`.

    small: a transformer gets smaller patches, every other net `shrink`. Nets that need to know the size of their
    input are told. Raises whatever timm raises for what does not fit.
    """
    import timm  # noqa: PLC0415  # takes two seconds to import

    patch = None
    config: Any = timm.get_pretrained_cfg(name)
    if config.fixed_input_size:
        with torch.device("meta"):  # takes no memory and no draws
            skeleton = timm.create_model(name)
        patch = _patch(skeleton, image_size) if small else None
        # a stem that no longer halves the image gives the stages behind it what a larger image would have given
        enlarged = image_size if patch or not small else image_size * shrink(skeleton)
        arguments |= {"img_size": enlarged, "patch_size": patch}
    net = timm.create_model(name, **arguments)
    if small and not patch:
        shrink(net)
    return net


def shrink(net: nn.Module) -> int:
    """Give a convolutional net a small stem, in place: first convolution 3x3 with stride 1, no max-pool after it.

    Returns the factor by which the image is now larger behind the stem. A larger kernel is cut down to its center and
    rescaled by old side / new side, the spread that a fresh 3x3 kernel would have had: nothing is drawn, and of
    pretrained weights the center stays.
    """
    factor = 1
    for conv in _first_convolutions(net):
        factor = conv.stride[0]
        conv.stride = (1, 1)
        _cut(conv)
    pool = _stem_pool(net)
    if pool:
        parent, _, child = pool.rpartition(".")
        factor *= 2
        setattr(net.get_submodule(parent), child, nn.Identity())
    return factor


def _cut(conv: nn.Conv2d) -> None:
    side = conv.kernel_size[0]
    if side <= _KERNEL:
        return
    start = (side - _KERNEL) // 2
    inner = slice(start, start + _KERNEL)
    conv.weight = nn.Parameter(conv.weight.detach()[:, :, inner, inner].clone() * (side / _KERNEL))
    conv.kernel_size = (_KERNEL, _KERNEL)
    # zero stays zero: such a convolution cuts patches, or pads by itself as TensorFlow does
    conv.padding = tuple(min(int(p), 1) for p in conv.padding)


def _first_convolutions(net: nn.Module) -> Iterator[nn.Conv2d]:
    """One, or several side by side."""
    config: Any = net.pretrained_cfg
    names = config["first_conv"]
    for name in (names,) if isinstance(names, str) else names:
        module = net.get_submodule(name)
        for part in module.modules():
            if isinstance(part, nn.Conv2d):
                yield part
                break


def _stem_pool(net: nn.Module) -> str:
    """The name of the strided max-pool in the stem, empty if there is none."""
    depth = 0
    for name, module in net.named_modules():
        depth += isinstance(module, nn.Conv2d)
        if depth > _STEM_DEPTH:
            break
        if isinstance(module, nn.MaxPool2d) and module.stride not in (1, (1, 1)):
            return str(name)
    return ""


def _patch(skeleton: nn.Module, image_size: int) -> int | None:
    """The largest patch, up to the usual one, that leaves PATCHES per side at the last stage, else 1; None: no patches.

    Only patches that divide the image are considered.
    """
    from timm.layers.patch_embed import PatchEmbed  # noqa: PLC0415  # takes two seconds to import

    embed = next((m for m in skeleton.modules() if isinstance(m, PatchEmbed)), None)
    if embed is None:
        return None
    info: Any = getattr(skeleton, "feature_info", None)
    usual = embed.patch_size[0]
    merging = info[-1]["reduction"] // usual if info else 1
    enough = [p for p in range(1, usual + 1) if image_size % p == 0 and image_size // p >= PATCHES * merging]
    return max(enough, default=1)
