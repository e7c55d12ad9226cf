"""Cost of a network: parameters and floating-point operations."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import nn


def parameters(backbone: nn.Module) -> int:
    """The number of parameters; buffers are not counted."""
    return sum(p.numel() for p in backbone.parameters())


def count_flops(work: Callable[[], object]) -> int:
    """The floating-point operations of `work()`, including backward passes; counting makes it about five times slower.

    A multiplication and an addition count as two. Matrix products, convolutions and attention are counted; norms,
    activations and optimizers cost little in comparison and are not.
    """
    from torch.utils.flop_counter import FlopCounterMode  # noqa: PLC0415  # imports triton: a tenth of a second

    with FlopCounterMode(display=False, custom_mapping=_CORRECTED) as counter:
        work()
    return int(counter.get_total_flops())


def flops(backbone: nn.Module, shape: Sequence[int]) -> int:
    """The FLOPs of a forward pass for one image of `shape` (C, H, W), in evaluation mode. The backbone is unchanged."""
    modes = [(module, module.training) for module in backbone.modules()]
    image = torch.zeros(1, *shape, device=next(backbone.parameters()).device)
    backbone.eval()
    with torch.no_grad():
        count = count_flops(lambda: backbone(image))
    for module, training in modes:
        module.training = training
    return count


def _convolution_backward(
    grad: Sequence[int], images: Sequence[int], weight: Sequence[int], *rest: Any, **_kwargs: Any
) -> int:
    """Two operations per weight and position, for each of the two gradients that are computed.

    The formula in torch 2.15 ignores groups: it overestimates a depthwise convolution of c channels, as in MobileNetV3,
    by a factor of (c + 1) / 2.
    """
    transposed, computed = rest[4], rest[7]
    positions = prod((images if transposed else grad)[2:])
    gradients = sum(map(bool, computed[:2]))
    return 2 * images[0] * positions * prod(weight) * gradients


_CORRECTED = {torch.ops.aten.convolution_backward: _convolution_backward}
