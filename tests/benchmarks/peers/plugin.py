"""The networks of the loads as backbones of fedbench."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from fedbench_core.api import Backbone, Outputs, hookimpl
from tests.benchmarks.peers.loads import LOADS, Load
from tests.benchmarks.peers.work import Net


class PeersNet(Net, Backbone):
    """The network of a load, with its embeddings and maps."""

    def __init__(self, load: Load) -> None:
        super().__init__(load)
        self.embedding_size = load.hidden

    def outputs(self, images: Tensor) -> Outputs:
        """Logits, embeddings and maps."""
        maps = self.maps(images)
        embedding = self.embedding(maps)
        return Outputs(self.head(embedding), embedding, (maps,))


@dataclass(frozen=True)
class LoadA:
    """The network of load A."""

    name: ClassVar = "peers-A"

    def build(self, outputs: int, channels: int, image_size: int) -> PeersNet:
        """The network: all loads have ten classes and images of 28x28x3."""
        return PeersNet(LOADS["A"])


@dataclass(frozen=True)
class LoadB(LoadA):
    """The network of load B."""

    name: ClassVar = "peers-B"

    def build(self, outputs: int, channels: int, image_size: int) -> PeersNet:
        """As above."""
        return PeersNet(LOADS["B"])


@hookimpl
def fedbench_register_backbones() -> dict[str, type[LoadA]]:
    """Both."""
    return {"peers-A": LoadA, "peers-B": LoadB}
