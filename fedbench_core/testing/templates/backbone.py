"""The backbone `example` for fedbench."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from fedbench_core.api import Architecture, Backbone, Outputs, hookimpl

api_version = 2


class ExampleNet(Backbone):
    """Two stages of convolutions, global average pooling, and a linear head."""

    def __init__(self, outputs: int, channels: int, width: int) -> None:
        super().__init__()
        # Your network goes here. Initial weights are drawn from torch's global generator, which is seeded.
        self.name, self.embedding_size = "example", 2 * width
        self.first = _stage(channels, width)
        self.second = _stage(width, 2 * width)
        self.head = nn.Linear(2 * width, outputs)

    def outputs(self, images: Tensor) -> Outputs:
        """Logits, embedding (the input of the head), and one map per stage."""
        first = self.first(images)
        second = self.second(first)
        embedding = second.mean(dim=(2, 3))
        return Outputs(self.head(embedding), embedding, (first, second))

    def forward(self, images: Tensor) -> Tensor:
        """The logits."""
        return self.outputs(images).logits


def _stage(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, width, 3, stride=2, padding=1), nn.BatchNorm2d(width), nn.ReLU())


@dataclass(frozen=True)
class Example(Architecture):
    """A small convolutional network."""

    # Fields are options: `fedbench run --backbones example --set backbone.width=32`.
    width: Annotated[int, Field(ge=1, description="channels of the first stage")] = 16

    @property
    def name(self) -> str:
        """The id in records."""
        return "example"

    def build(self, outputs: int, channels: int, image_size: int) -> Backbone:
        """A network with initial weights, for images (channels, image_size, image_size)."""
        return ExampleNet(outputs, channels, self.width)


@hookimpl
def fedbench_register_backbones() -> Mapping[str, type[Architecture]]:
    """The backbone, by name."""
    return {"example": Example}
