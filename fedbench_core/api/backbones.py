"""Networks that classify images, and what they compute for a batch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

from torch import Tensor, nn

Observer = Callable[[nn.Module, Tensor], None]
"""Called with a network and its inputs at the start of every forward pass."""


@dataclass(frozen=True)
class Outputs:
    """What a backbone computes for a batch of b images.

    logits: (b, outputs); embedding: (b, d), the input of the head; maps: one (b, c, h, w) per stage end, the last is
    the feature map.
    """

    logits: Tensor
    embedding: Tensor
    maps: tuple[Tensor, ...]


class Backbone(nn.Module):
    """A network that classifies images. Calling it returns logits; `outputs` returns embeddings and maps too."""

    name: str
    """The exact id of the architecture, such as `mobilenetv3_small_100`."""
    embedding_size: int
    """The length of one embedding."""
    head: nn.Module
    """The last layer, which maps the embedding to the logits."""
    observer: Observer | None = None
    """Set by the engine, which counts forward passes."""
    _depth = 0

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Report calls of `outputs` to the observer, as calls of the network itself are."""
        super().__init_subclass__(**kwargs)
        if "outputs" in vars(cls):
            cls.outputs = _observed(cls.outputs)  # type: ignore[assignment, method-assign]  # the same signature

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The logits (b, outputs)."""
        with _observing(self, args):
            return super().__call__(*args, **kwargs)

    def outputs(self, images: Tensor) -> Outputs:
        """Logits, embeddings and maps of `images` (b, C, H, W); the logits equal those of a plain call to the bit."""
        raise NotImplementedError


@contextmanager
def _observing(net: Backbone, args: tuple[Any, ...]) -> Iterator[None]:
    """Report one forward pass, also where `forward` and `outputs` call each other."""
    if net.observer is not None and not net._depth and args:  # noqa: SLF001  # the class's own
        net.observer(net, args[0])
    net._depth += 1  # noqa: SLF001  # as above
    try:
        yield
    finally:
        net._depth -= 1  # noqa: SLF001  # as above


def _observed(outputs: Callable[[Any, Tensor], Outputs]) -> Callable[[Any, Tensor], Outputs]:
    @wraps(outputs)
    def observed(self: Backbone, images: Tensor) -> Outputs:
        with _observing(self, (images,)):
            return outputs(self, images)

    return observed
