from typing import ClassVar

from fedbench_core.testing import (
    AggregatorContract,
    CompressorContract,
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


class TestLocalUpdate(LocalUpdateContract):
    name = "local"


class TestLocal(MethodContract):
    name = "local"


class TestPooled(MethodContract):
    name = "pooled"
