"""timm networks as backbones."""

from dataclasses import dataclass
from typing import Annotated, Any, get_args

import torch
from pydantic import Field
from torch import Tensor, nn

from fedbench_core.api import Backbone, Normalization, Outputs, RequestError, unknown
from fedbench_core.models import naming, stems
from fedbench_core.models.weights import fetch


class TimmBackbone(Backbone):
    """A timm network that returns logits, embeddings and feature maps.

    net: timm's module; no_maps_reason: why `outputs` is unavailable, "" if it works. Images may have any memory format.
    """

    def __init__(self, name: str, net: nn.Module, probe: Tensor) -> None:
        super().__init__()
        self.name = name
        # depthwise convolutions are several times faster in channels-last on a CPU, other convolutions are not
        self.memory_format = torch.channels_last if _is_depthwise(net) else torch.contiguous_format
        self.net: Any = net.to(memory_format=self.memory_format)
        self.no_maps_reason, self.embedding_size = "", 0
        self.own_normalization = _normalization(net, probe.shape[1])
        self._probe(probe)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (b, outputs) of `images` (b, C, H, W)."""
        logits: Tensor = self.net(images.contiguous(memory_format=self.memory_format))
        return logits

    def outputs(self, images: Tensor) -> Outputs:
        """Logits, embeddings and maps of `images` (b, C, H, W); RequestError if timm has no maps for this family.

        The maps are those of timm's `forward_intermediates`: one per stage, or for a transformer one per block, with
        patches as pixels.
        """
        if self.no_maps_reason:
            raise RequestError(self.no_maps_reason)
        return self._outputs(images)

    @property
    def head(self) -> nn.Module:  # type: ignore[override]  # of timm's network, not a child of its own
        """The classifier."""
        head: nn.Module = self.net.get_classifier()
        return head

    def _outputs(self, images: Tensor) -> Outputs:
        features, maps = self.net.forward_intermediates(images.contiguous(memory_format=self.memory_format))
        inputs: list[Tensor] = []
        hook = self.head.register_forward_pre_hook(lambda _module, args: inputs.append(args[0]))
        try:
            logits = self.net.forward_head(features)
        finally:
            hook.remove()
        return Outputs(logits, inputs[0].flatten(1), tuple(maps))

    @torch.no_grad()
    def _probe(self, images: Tensor) -> None:
        """Run once in evaluation mode, so that unsupported networks are found before a run starts."""
        self.eval()
        logits = self(images)
        try:
            found = self._outputs(images)
            self.embedding_size = found.embedding.shape[1]
            reason = "" if torch.equal(found.logits, logits) else "forward_intermediates returns different logits"
        except Exception as error:  # noqa: BLE001  # families without this interface raise many types
            reason = f"{type(error).__name__}: {error}"
            self.embedding_size = int(getattr(self.net, "head_hidden_size", None) or self.net.num_features)
        if reason:
            family = type(self.net).__name__
            self.no_maps_reason = (
                f"timm returns no embeddings and maps for {self.name} (family {family}; {reason}). Use it with methods "
                f"that need only logits, or use another backbone, such as resnet18 or mobilenetv3."
            )
        self.train()


@dataclass(frozen=True)
class TimmArchitecture:
    """A timm network by name or alias; RequestError for unknown names.

    stem: `timm` keeps timm's stem, `small` suits small images (see `stems.shrink`), `auto` is small up to 32 pixels.
    pretrained: start from timm's weights. A pretrained stem that is made small keeps the center of its kernels, so
    batch statistics behind it are wrong until it is trained.
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
        """A network for images (channels, image_size, image_size), initialized from torch's global generator.

        RequestError if it cannot be built for this size, DataError if pretrained weights are unavailable.
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
            raise _unsupported_size(self.name, image_size, error, small=small) from error


def _unsupported_size(name: str, image_size: int, error: Exception, *, small: bool) -> RequestError:
    used, other = ("small", "timm") if small else ("timm", "small")
    return RequestError(
        f"{name} cannot be built for {image_size}-pixel images with backbone.stem={used} "
        f"({type(error).__name__}: {error}). Use a larger --image-size, --set backbone.stem={other}, or another "
        "backbone, such as resnet18 or mobilenetv3."
    )


def _normalization(net: nn.Module, channels: int) -> Normalization | None:
    """What timm's weights were trained with; for other images than color ones the mean over the channels."""
    config: Any = getattr(net, "pretrained_cfg", None) or {}
    mean, std = (tuple(config.get(key) or ()) for key in ("mean", "std"))
    if not mean or not std:
        return None
    if len(mean) != channels:
        mean, std = (sum(mean) / len(mean),), (sum(std) / len(std),)
    return Normalization(mean, std)


def _is_depthwise(net: nn.Module) -> bool:
    return any(isinstance(m, nn.Conv2d) and m.groups == m.in_channels > 1 for m in net.modules())
