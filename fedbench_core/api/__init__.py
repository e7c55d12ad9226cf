"""The contract between fedbench and its plugins: everything a plugin may import, with `fedbench_core.learning`."""

from fedbench_core.api.context import Backbone, Build, Outputs, RoundContext, Training
from fedbench_core.api.datasets import SPLITS, Architecture, DataRequest, Dataset, Splits
from fedbench_core.api.errors import DataError, FedbenchError, RequestError, RunError, unknown
from fedbench_core.api.examples import Examples, Indices
from fedbench_core.api.hookspecs import hookimpl, hookspec
from fedbench_core.api.parts import (
    HUB,
    Aggregator,
    Client,
    Compressor,
    Labels,
    Letter,
    LocalUpdate,
    Memory,
    Merge,
    Method,
    Partitioner,
    Place,
    Reply,
    Topology,
    Visit,
)
from fedbench_core.api.payload import Payload, PayloadError, pack, unpack
from fedbench_core.api.seeds import stream, torch_seed
from fedbench_core.api.task import Task

__all__ = [
    "HUB",
    "SPLITS",
    "Aggregator",
    "Architecture",
    "Backbone",
    "Build",
    "Client",
    "Compressor",
    "DataError",
    "DataRequest",
    "Dataset",
    "Examples",
    "FedbenchError",
    "Indices",
    "Labels",
    "Letter",
    "LocalUpdate",
    "Memory",
    "Merge",
    "Method",
    "Outputs",
    "Partitioner",
    "Payload",
    "PayloadError",
    "Place",
    "Reply",
    "RequestError",
    "RoundContext",
    "RunError",
    "Splits",
    "Task",
    "Topology",
    "Training",
    "Visit",
    "hookimpl",
    "hookspec",
    "pack",
    "stream",
    "torch_seed",
    "unknown",
    "unpack",
]
