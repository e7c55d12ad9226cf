"""Networks that classify images, and what they compute for a batch."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any, Protocol

from torch import Tensor, nn


@dataclass(frozen=True)
class Normalization:
    """The mean and standard deviation of each input channel (or one of all), of pixels between 0 and 1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, images: Tensor) -> Tensor:
        """(pixels - mean) / std, of images (b, C, H, W) in [-1, 1]."""
        mean, std = (images.new_tensor(values).view(-1, 1, 1) for values in (self.mean, self.std))
        return (images * 0.5 + (0.5 - mean)) / std


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
    """A network that classifies images. Calling it returns logits; `outputs` returns embeddings and maps too.

    Both take images in [-1, 1] and normalize them before `forward` and a subclass's `outputs` see them.
    """

    name: str
    """The exact id of the architecture, such as `mobilenetv3_small_100`."""
    embedding_size: int
    """The length of one embedding."""
    head: nn.Module
    """The last layer, which maps the embedding to the logits."""
    observer: Observer | None = None
    """Set by the engine, which counts forward passes."""
    normalization: Normalization | None = None
    """What inputs are normalized by, as the run asks for it; None leaves them in [-1, 1]."""
    own_normalization: Normalization | None = None
    """That of the pretrained weights, used with `--normalization backbone`."""
    _entered: bool = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let calls of `outputs` be observed and normalized as calls of the network itself are."""
        super().__init_subclass__(**kwargs)
        if "outputs" in vars(cls):
            cls.outputs = _entering(cls.outputs)  # type: ignore[assignment, method-assign]  # the same signature

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The logits (b, outputs)."""
        return _enter(self, super().__call__, *args, **kwargs)

    def outputs(self, images: Tensor) -> Outputs:
        """Logits, embeddings and maps of `images` (b, C, H, W); the logits equal those of a plain call to the bit."""
        raise NotImplementedError


def _enter(net: Backbone, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Observe and normalize the images of a call once, also where `forward` and `outputs` call each other."""
    if net._entered:  # noqa: SLF001  # this module's own
        return call(*args, **kwargs)
    images, *rest = (*args, *kwargs.values())
    observer = net.observer
    if observer is not None:
        observer.observe(net, images)
        observer.active = True
    object.__setattr__(net, "_entered", True)  # nn.Module.__setattr__ takes 5 µs
    try:
        images = images if net.normalization is None else net.normalization(images)
        named = dict(zip(kwargs, (images, *rest)[len(args) :], strict=True))
        return call(*(images, *rest)[: len(args)], **named)
    finally:
        object.__setattr__(net, "_entered", False)  # as above
        if observer is not None:
            observer.active = False


def _entering(outputs: Callable[[Any, Tensor], Outputs]) -> Callable[[Any, Tensor], Outputs]:
    @wraps(outputs)
    def entering(self: Backbone, images: Tensor) -> Outputs:
        result: Outputs = _enter(self, partial(outputs, self), images)
        return result

    return entering
