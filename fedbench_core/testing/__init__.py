"""Contract suites for authors of parts: subclass one, name your part, and pytest runs every case of the contract.

from fedbench_core.testing import CompressorContract

class TestSvd(CompressorContract):
    name = "svd"
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedbench_core.testing.aggregator import AggregatorContract
    from fedbench_core.testing.backbone import BackboneContract
    from fedbench_core.testing.compressor import CompressorContract
    from fedbench_core.testing.dataset import DatasetContract
    from fedbench_core.testing.local_update import LocalUpdateContract
    from fedbench_core.testing.method import MethodContract
    from fedbench_core.testing.partitioner import PartitionerContract
    from fedbench_core.testing.topology import TopologyContract
    from fedbench_core.testing.tracker import TrackerContract

__all__ = [
    "AggregatorContract",
    "BackboneContract",
    "CompressorContract",
    "DatasetContract",
    "LocalUpdateContract",
    "MethodContract",
    "PartitionerContract",
    "TopologyContract",
    "TrackerContract",
]

_HOMES = {
    "AggregatorContract": "fedbench_core.testing.aggregator",
    "BackboneContract": "fedbench_core.testing.backbone",
    "CompressorContract": "fedbench_core.testing.compressor",
    "DatasetContract": "fedbench_core.testing.dataset",
    "LocalUpdateContract": "fedbench_core.testing.local_update",
    "MethodContract": "fedbench_core.testing.method",
    "PartitionerContract": "fedbench_core.testing.partitioner",
    "TopologyContract": "fedbench_core.testing.topology",
    "TrackerContract": "fedbench_core.testing.tracker",
}


def __getattr__(name: str) -> Any:
    """Import a suite on first use: pytest loads this package in every run, and the suites import torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'fedbench_core.testing' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
