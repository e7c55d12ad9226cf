"""The attention maps of transformers, and how far those of two networks are apart."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn import functional as F

from fedbench_core.learning import pooled
from fedbench_core.learning.similarity import matched


def blocks(net: nn.Module) -> list[nn.Module]:
    """The attention layers of a network over all tokens, in order; none for a convolutional network."""
    needed = ("qkv", "fused_attn", "attn_drop")
    layers = [module for module in net.modules() if all(hasattr(module, name) for name in needed)]
    return [layer for layer in layers if "Window" not in type(layer).__name__]


@contextmanager
def attention_maps(net: nn.Module) -> Iterator[list[Tensor]]:
    """The attention of each layer in the network's last forward pass: means over the heads (b, n, n) for n tokens.

    Inside, attention is computed without the fused kernel, which does not give it.
    """
    layers = blocks(net)
    maps: list[Tensor] = []
    hooks, fused = [], [layer.fused_attn for layer in layers]

    def keep(number: int, attention: Tensor) -> None:
        if number == 0:
            maps.clear()
        maps.append(attention.mean(dim=1))

    for number, layer in enumerate(layers):
        layer.fused_attn = False  # type: ignore[assignment]  # a plain attribute of timm's
        drop: nn.Module = layer.attn_drop  # type: ignore[assignment]  # as above
        hooks.append(drop.register_forward_pre_hook(lambda _drop, args, number=number: keep(number, args[0])))
    try:
        yield maps
    finally:
        for hook in hooks:
            hook.remove()
        for layer, was in zip(layers, fused, strict=True):
            layer.fused_attn = was


def distance(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor | None:
    """MSE(A_t, A_s), a mean over layers of equal relative depth; None if one of the networks has no attention.

    Maps of different numbers of tokens are average-pooled to the smaller one.
    """
    if not first or not second:
        return None
    pairs = [_difference(first[one], second[other]) for one, other in matched(len(first), len(second))]
    return sum(pairs[1:], start=pairs[0]) / len(pairs)


def _difference(first: Tensor, second: Tensor) -> Tensor:
    tokens = min(first.shape[1], second.shape[1])
    return F.mse_loss(pooled(first, (tokens, tokens)), pooled(second, (tokens, tokens)))
