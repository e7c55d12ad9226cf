"""The contract between fedbench and its plugins: everything a plugin may import, with `fedbench_core.learning`.

Names are imported when they are asked for, so that errors and settings can be had without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedbench_core.api.context import Backbone, Build, Outputs, RoundContext
    from fedbench_core.api.datasets import SPLITS, Architecture, DataRequest, Dataset, Splits
    from fedbench_core.api.errors import DataError, FedbenchError, RequestError, RunError, unknown
    from fedbench_core.api.examples import Examples, Indices
    from fedbench_core.api.hookspecs import API_VERSION, hookimpl, hookspec
    from fedbench_core.api.parts import (
        NOTED,
        SERVER,
        Accumulator,
        Aggregator,
        Client,
        Compressor,
        Labels,
        LocalUpdate,
        Memory,
        Message,
        Method,
        Partitioner,
        Place,
        Topology,
        Turn,
        Update,
    )
    from fedbench_core.api.payload import Payload, PayloadError, pack, unpack
    from fedbench_core.api.seeds import stream, torch_seed
    from fedbench_core.api.task import Task
    from fedbench_core.api.training import Training

__all__ = [
    "API_VERSION",
    "NOTED",
    "SERVER",
    "SPLITS",
    "Accumulator",
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
    "LocalUpdate",
    "Memory",
    "Message",
    "Method",
    "Outputs",
    "Partitioner",
    "Payload",
    "PayloadError",
    "Place",
    "RequestError",
    "RoundContext",
    "RunError",
    "Splits",
    "Task",
    "Topology",
    "Training",
    "Turn",
    "Update",
    "hookimpl",
    "hookspec",
    "pack",
    "stream",
    "torch_seed",
    "unknown",
    "unpack",
]

_MODULES = {
    "context": ("Backbone", "Build", "Outputs", "RoundContext"),
    "datasets": ("Architecture", "DataRequest", "Dataset", "SPLITS", "Splits"),
    "errors": ("DataError", "FedbenchError", "RequestError", "RunError", "unknown"),
    "examples": ("Examples", "Indices"),
    "hookspecs": ("API_VERSION", "hookimpl", "hookspec"),
    "parts": (
        "Aggregator",
        "Client",
        "Compressor",
        "SERVER",
        "NOTED",
        "Labels",
        "Message",
        "LocalUpdate",
        "Memory",
        "Accumulator",
        "Method",
        "Partitioner",
        "Place",
        "Update",
        "Topology",
        "Turn",
    ),
    "payload": ("Payload", "PayloadError", "pack", "unpack"),
    "seeds": ("stream", "torch_seed"),
    "task": ("Task",),
    "training": ("Training",),
}
_HOMES = {name: f"{__name__}.{module}" for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
