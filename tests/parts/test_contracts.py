from typing import ClassVar

import numpy as np
import pytest

from fedbench_core.testing import (
    AggregatorContract,
    BackboneContract,
    CompressorContract,
    DatasetContract,
    LocalUpdateContract,
    MethodContract,
    PartitionerContract,
    TopologyContract,
)


class TestIid(PartitionerContract):
    name = "iid"


class TestDirichlet(PartitionerContract):
    name = "dirichlet"


class TestShards(PartitionerContract):
    name = "shards"


class TestQuantity(PartitionerContract):
    name = "quantity"


class TestSites(PartitionerContract):
    name = "sites"


class TestMean(AggregatorContract):
    name = "mean"


class TestUniformMean(AggregatorContract):
    name = "mean"
    options: ClassVar = {"uniform": True}


class TestAccumulatedMean(AggregatorContract):
    name = "mean"
    options: ClassVar = {"accumulate": True}


class TestRelay(AggregatorContract):
    name = "relay"


class TestDense(CompressorContract):
    name = "dense"


class TestHalf(CompressorContract):
    name = "half"


class TestStar(TopologyContract):
    name = "star"


class TestRing(TopologyContract):
    name = "ring"


class TestFullCircle(TopologyContract):
    name = "ring"
    options: ClassVar = {"hops": 0}


class TestPhantom(DatasetContract):
    name = "phantom"
    options: ClassVar = {"train": 64, "val": 64, "test": 64}


class TestNpz(DatasetContract):
    name = "npz"

    @pytest.fixture(autouse=True)
    def file(self, tmp_path_factory) -> None:
        """An npz file with two classes of random images."""
        rng, arrays = np.random.default_rng(0), {}
        for split in ("train", "val", "test"):
            arrays[f"{split}_images"] = rng.integers(0, 256, (20, 12, 12), dtype=np.uint8)
            arrays[f"{split}_labels"] = np.arange(20) % 2
        path = tmp_path_factory.mktemp("npz") / "noise.npz"
        np.savez(path, **arrays)
        self.options = {"path": str(path)}


class TestResNet(BackboneContract):
    name = "test_resnet"


class TestEfficientNet(BackboneContract):
    name = "test_efficientnet"
    options: ClassVar = {"stem": "timm"}


class TestViT(BackboneContract):
    name = "test_vit"


class TestLocalUpdate(LocalUpdateContract):
    name = "local"


class TestLocal(MethodContract):
    name = "local"


@pytest.mark.slow
class TestCentralized(MethodContract):
    name = "centralized"


@pytest.mark.slow
class TestFineTunedUpdate(LocalUpdateContract):
    name = "fine-tuned"


@pytest.mark.slow
class TestCentralizedFineTuned(MethodContract):
    name = "centralized-ft"


class TestMajorityUpdate(LocalUpdateContract):
    name = "majority"


class TestMajority(MethodContract):
    name = "majority"
