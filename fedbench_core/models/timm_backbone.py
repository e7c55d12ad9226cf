"""Any timm network as a backbone of fedbench."""

from dataclasses import dataclass
from typing import Annotated, Any, get_args

import torch
from pydantic import Field
from torch import Tensor, nn

from fedbench_core.api import Backbone, Outputs, RequestError, unknown
from fedbench_core.models import naming, stems
from fedbench_core.models.weights import fetch


class TimmBackbone(Backbone):
    """A timm network with logits, embedding and maps. `net` is timm's own module, `unfit` why it has no maps, if so.

    It takes images in any memory format and converts them to its own.
    """

    def __init__(self, name: str, net: nn.Module, probe: Tensor) -> None:
        super().__init__()
        self.name = name
        # a fixed rule: on a CPU depthwise convolutions are several times faster in channels-last, others are not
        self.memory_format = torch.channels_last if _is_depthwise(net) else torch.contiguous_format
        self.net: Any = net.to(memory_format=self.memory_format)
        self.unfit, self.embedding_size = "", 0
        self._probe(probe)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (b, outputs) of `images` (b, C, H, W)."""
        logits: Tensor = self.net(images.contiguous(memory_format=self.memory_format))
        return logits

    def outputs(self, images: Tensor) -> Outputs:
        """Logits, embeddings and maps of `images` (b, C, H, W); RequestError where timm gives this family no maps.

        The maps are those of timm's `forward_intermediates`: one per stage end, for a transformer one per block with
        its patches as pixels.
        """
        if self.unfit:
            raise RequestError(self.unfit)
        return self._outputs(images)

    @property
    def head(self) -> nn.Module:  # type: ignore[override]  # of timm's network, not a child of its own
        """The classifier."""
        head: nn.Module = self.net.get_classifier()
        return head

    def _outputs(self, images: Tensor) -> Outputs:
        features, maps = self.net.forward_intermediates(images.contiguous(memory_format=self.memory_format))
        read: list[Tensor] = []
        hook = self.net.get_classifier().register_forward_pre_hook(lambda _module, args: read.append(args[0]))
        try:
            logits = self.net.forward_head(features)
        finally:
            hook.remove()
        return Outputs(logits, read[0].flatten(1), tuple(maps))

    @torch.no_grad()
    def _probe(self, images: Tensor) -> None:
        """Run once, in evaluation mode, so that what does not fit is known before a run starts."""
        self.eval()
        logits = self(images)
        try:
            given = self._outputs(images)
            self.embedding_size = given.embedding.shape[1]
            reason = "" if torch.equal(given.logits, logits) else "its maps come with other logits"
        except Exception as error:  # noqa: BLE001  # families that lack the interface fail in as many ways
            reason = f"{type(error).__name__}: {error}"
            self.embedding_size = int(getattr(self.net, "head_hidden_size", None) or self.net.num_features)
        if reason:
            family = type(self.net).__name__
            self.unfit = (
                f"timm gives no embeddings and maps of {self.name} (family {family}; {reason}). It can be trained by "
                f"methods that need logits only; for others take another backbone, such as resnet18 or mobilenetv3."
            )
        self.train()


@dataclass(frozen=True)
class TimmArchitecture:
    """A timm network by name or alias, as an `Architecture`; RequestError for unknown names.

    stem: `timm` keeps timm's, `small` suits small images (see `stems.shrink`), `auto` is small up to 32 pixels.
    pretrained: start from timm's weights. A pretrained stem that is cut down keeps the center of its kernels, and the
    statistics behind it are off until it is trained.
    """

    name: str
    stem: Annotated[stems.Stem, Field(description="small: for small images; auto: small up to 32 pixels")] = "auto"
    pretrained: Annotated[bool, Field(description="start from timm's pretrained weights")] = False

    def __post_init__(self) -> None:
        if self.stem not in get_args(stems.Stem):
            raise unknown("stem", self.stem, get_args(stems.Stem))
        exact = naming.resolve(self.name)
        if self.pretrained:
            exact = naming.with_weights(exact)
        elif "." in exact:
            raise RequestError(f"{exact} names pretrained weights: add --pretrained, or use {exact.partition('.')[0]}.")
        object.__setattr__(self, "name", exact)

    def build(self, outputs: int, channels: int, image_size: int) -> Backbone:
        """A network for images (channels, image_size, image_size), its draws from torch's global generator.

        RequestError if it cannot be built for this size, DataError if pretrained weights cannot be had.
        """
        source = {"pretrained": True, "pretrained_cfg_overlay": fetch(self.name)} if self.pretrained else {}
        small = stems.is_small(self.stem, image_size)
        probe = torch.linspace(-1, 1, channels * image_size**2).view(1, channels, image_size, image_size)
        try:
            net = stems.create(
                self.name, small=small, image_size=image_size, num_classes=outputs, in_chans=channels, **source
            )
            return TimmBackbone(self.name, net, probe)
        except Exception as error:
            raise _misfit(self.name, image_size, error, small=small) from error


def _misfit(name: str, image_size: int, error: Exception, *, small: bool) -> RequestError:
    this, other = ("small", "timm") if small else ("timm", "small")
    return RequestError(
        f"{name} cannot be built for {image_size}-pixel images with --stem {this} ({type(error).__name__}: {error}). "
        f"Use a larger --image-size, --stem {other}, or another backbone, such as resnet18 or mobilenetv3."
    )


def _is_depthwise(net: nn.Module) -> bool:
    return any(isinstance(m, nn.Conv2d) and m.groups == m.in_channels > 1 for m in net.modules())
