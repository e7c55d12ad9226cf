"""Backbones that each do one thing wrong: {name: (class, the case that shows it, a part of its message)}."""

import itertools
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from fedbench_core.api import Backbone, Outputs, hookimpl

COUNTER = itertools.count()


class Net(Backbone):
    """One stage and a head: sound, unless a subclass says otherwise."""

    def __init__(self, outputs, channels):
        super().__init__()
        self.embedding_size = 6
        self.conv = nn.Conv2d(channels, 6, 3, stride=2)
        self.norm = nn.BatchNorm2d(6)
        self.head = nn.Linear(6, outputs)

    def outputs(self, images):
        maps = torch.tanh(self.norm(self.conv(images)))
        embedding = maps.mean(dim=(2, 3))
        return Outputs(self.head(embedding), embedding, (maps,))

    def forward(self, images):
        return self.outputs(images).logits


class OtherLogits(Net):
    def forward(self, images):
        return super().forward(images) / 2


class WrongSize(Net):
    def __init__(self, outputs, channels):
        super().__init__(outputs, channels)
        self.embedding_size = 12


class NoMaps(Net):
    def outputs(self, images):
        given = super().outputs(images)
        return Outputs(given.logits, given.embedding, ())


class FlatMaps(Net):
    def outputs(self, images):
        given = super().outputs(images)
        return Outputs(given.logits, given.embedding, (given.maps[0].flatten(2),))


class AlwaysTen(Net):
    def __init__(self, outputs, channels):
        super().__init__(10, channels)


class ColorOnly(Net):
    def __init__(self, outputs, channels):
        super().__init__(outputs, 3)


class Logits(Net):
    def outputs(self, images):
        return super().outputs(images).logits

    def forward(self, images):
        return self.outputs(images)


class SeedsItself(Net):
    def __init__(self, outputs, channels):
        torch.manual_seed(0)
        super().__init__(outputs, channels)


class DrawsFromNumpy(Net):
    def __init__(self, outputs, channels):
        super().__init__(outputs, channels)
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(np.random.normal(size=self.head.weight.shape)))  # noqa: NPY002  # this is the fault


class DrawsUnseeded(Net):
    def __init__(self, outputs, channels):
        super().__init__(outputs, channels)
        with torch.no_grad():
            self.head.weight.uniform_(generator=torch.Generator().manual_seed(torch.seed() % 2**31 + next(COUNTER)))


class DropsAlways(Net):
    def outputs(self, images):
        given = super().outputs(images)
        return Outputs(nn.functional.dropout(given.logits, training=True), given.embedding, given.maps)


class NormalizesByTheBatch(Net):
    def __init__(self, outputs, channels):
        super().__init__(outputs, channels)
        self.norm = nn.BatchNorm2d(6, track_running_stats=False)


class WritesToImages(Net):
    def outputs(self, images):
        return super().outputs(images.mul_(2))


class Detached(Net):
    def forward(self, images):
        return super().forward(images).detach()

    def outputs(self, images):
        given = super().outputs(images)
        return Outputs(given.logits.detach(), given.embedding, given.maps)


class HalfDetached(Net):
    """The convolution never learns."""

    def outputs(self, images):
        with torch.no_grad():
            maps = torch.tanh(self.norm(self.conv(images)))
        embedding = maps.mean(dim=(2, 3))
        return Outputs(self.head(embedding), embedding, (maps,))


class Frozen(Net):
    def __init__(self, outputs, channels):
        super().__init__(outputs, channels)
        self.requires_grad_(requires_grad=False)


class CountsCalls(Net):
    """Keeps how often it was trained beside its weights, and lets that decide."""

    calls = 0

    def outputs(self, images):
        self.calls += self.training
        given = super().outputs(images)
        return Outputs(given.logits * (1 + self.calls), given.embedding, given.maps)


class NoBackbone(nn.Module):
    def __init__(self, outputs, channels):
        super().__init__()
        self.head = nn.Linear(1, outputs)


class Strange(Net):
    """A buffer of a kind that does not travel."""

    def __init__(self, outputs, channels):
        super().__init__(outputs, channels)
        self.register_buffer("phase", torch.zeros(2, dtype=torch.complex64))


@dataclass(frozen=True)
class Architecture:
    net: ClassVar[type] = Net
    name: ClassVar[str] = "defect"

    def build(self, outputs, channels, image_size):
        return self.net(outputs, channels)


class Nameless(Architecture):
    name = ""


class OldBuild(Architecture):
    def build(self, outputs):
        return Net(outputs, 3)


def architecture(net):
    return type(net.__name__, (Architecture,), {"net": net})


class SharesItsHead(Net):
    """One head for all networks of the process, though with fresh weights each time."""

    HEADS: ClassVar[dict] = {}

    def __init__(self, outputs, channels):
        super().__init__(outputs, channels)
        self.head = self.HEADS.setdefault(outputs, self.head)
        self.head.reset_parameters()


class OwnHead(Net):
    """A head that reads something else than the embedding."""

    def outputs(self, images):
        given = super().outputs(images)
        return Outputs(given.logits, given.embedding * 2, given.maps)


class NoHead(Net):
    def __init__(self, outputs, channels):
        super().__init__(outputs, channels)
        self.last, self.head = self.head, None

    def outputs(self, images):
        maps = torch.tanh(self.norm(self.conv(images)))
        embedding = maps.mean(dim=(2, 3))
        return Outputs(self.last(embedding), embedding, (maps,))


DEFECTS = {
    "d-own-head": (architecture(OwnHead), "head_maps_embeddings_to_logits", "the embedding is what the head is given"),
    "d-no-head": (architecture(NoHead), "head_maps_embeddings_to_logits", "expected the network's last layer"),
    "d-other-logits": (architecture(OtherLogits), "a_plain_call_gives_the_logits", "a plain call gives other logits"),
    "d-wrong-size": (
        architecture(WrongSize),
        "outputs_have_their_shapes[gray]",
        "embedding are (6, 6); expected (6, 12)",
    ),
    "d-no-maps": (architecture(NoMaps), "outputs_have_their_shapes[gray]", "no maps"),
    "d-flat-maps": (architecture(FlatMaps), "outputs_have_their_shapes[gray]", "expected (b, c, h, w)"),
    "d-always-ten": (architecture(AlwaysTen), "outputs_have_their_shapes[gray]", "logits are (6, 10)"),
    "d-color-only": (architecture(ColorOnly), "outputs_have_their_shapes[gray]", "to have 3 channels"),
    "d-logits": (architecture(Logits), "outputs_have_their_shapes[gray]", "expected Outputs"),
    "d-seeds-itself": (architecture(SeedsItself), "same_stream_same_weights", "the same weights from another seed"),
    "d-draws-numpy-weights": (
        architecture(DrawsFromNumpy),
        "same_stream_same_weights",
        "global generator of numpy.random",
    ),
    "d-draws-unseeded-weights": (
        architecture(DrawsUnseeded),
        "same_stream_same_weights",
        "other weights from the same seed",
    ),
    "d-drops-always": (architecture(DropsAlways), "predicting_repeats_itself", "other logits the second time"),
    "d-normalizes-by-the-batch": (
        architecture(NormalizesByTheBatch),
        "predicting_repeats_itself",
        "when it comes alone",
    ),
    "d-writes-to-images": (architecture(WritesToImages), "predicting_repeats_itself", "the images were changed"),
    "d-detached": (architecture(Detached), "learns", "detaches"),
    "d-half-detached": (architecture(HalfDetached), "learns", "no gradient reaches conv.weight"),
    "d-frozen": (architecture(Frozen), "learns", "no parameter requires a gradient"),
    "d-counts-calls": (architecture(CountsCalls), "its_state_is_all_there_is", "keep everything in parameters"),
    "d-shares-its-head": (architecture(SharesItsHead), "two_networks_share_nothing", "two networks share head.weight"),
    "d-no-backbone": (architecture(NoBackbone), "depends_on_nothing_outside[clock]", "expected a Backbone"),
    "d-strange": (architecture(Strange), "depends_on_nothing_outside[clock]", "complex64"),
    "d-nameless": (Nameless, "name_is_its_own", "it has no name"),
    "d-old-build": (OldBuild, "loads", "does not take outputs, channels, image_size"),
    "resnet18": (Architecture, "name_is_its_own", "timm has a backbone 'resnet18' too"),
}


@hookimpl
def fedbench_register_backbones():
    return {name: defect for name, (defect, _) in DEFECTS.items()}
