"""Networks that classify images, and what they compute for a batch."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any, Protocol

from torch import Tensor, nn


class Observer(Protocol):
    """Sees every forward pass of a network. active: during a pass, so that nested calls are seen once."""

    active: bool

    def observe(self, net: nn.Module, inputs: Tensor) -> None:
        """Called at the start of a forward pass."""
        ...


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

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Report calls of `outputs` to the observer, as calls of the network itself are."""
        super().__init_subclass__(**kwargs)
        if "outputs" in vars(cls):
            cls.outputs = _observed(cls.outputs)  # type: ignore[assignment, method-assign]  # the same signature

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The logits (b, outputs)."""
        return _observing(self, super().__call__, *args, **kwargs)

    def outputs(self, images: Tensor) -> Outputs:
        """Logits, embeddings and maps of `images` (b, C, H, W); the logits equal those of a plain call to the bit."""
        raise NotImplementedError


def _observing(net: Backbone, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Make a call of a network, which its observer sees once, also where `forward` and `outputs` call each other."""
    observer = net.observer
    if observer is None or observer.active:
        return call(*args, **kwargs)
    observer.observe(net, next(iter((*args, *kwargs.values()))))
    observer.active = True
    try:
        return call(*args, **kwargs)
    finally:
        observer.active = False


def _observed(outputs: Callable[[Any, Tensor], Outputs]) -> Callable[[Any, Tensor], Outputs]:
    @wraps(outputs)
    def observed(self: Backbone, images: Tensor) -> Outputs:
        result: Outputs = _observing(self, partial(outputs, self), images)
        return result

    return observed
