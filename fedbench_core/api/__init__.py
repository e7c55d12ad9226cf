"""The contract between fedbench and its plugins: everything a plugin may import, beside `fedbench_core.learning`.

Names are imported on first use, so that errors and settings do not need torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedbench_core.api.backbones import Backbone, Normalization, Outputs
    from fedbench_core.api.context import SERVER, Builder, Node, RoundContext
    from fedbench_core.api.datasets import SPLITS, Architecture, DataRequest, Dataset, Splits
    from fedbench_core.api.errors import DataError, FedbenchError, RequestError, RunError, unknown
    from fedbench_core.api.examples import Examples, Images, Indices
    from fedbench_core.api.hookspecs import API_VERSION, hookimpl, hookspec
    from fedbench_core.api.parts import (
        NOTED,
        Accumulator,
        Aggregator,
        AggregatorState,
        Client,
        Compressor,
        Control,
        Labels,
        LocalUpdate,
        Memory,
        Message,
        Method,
        ModuleFactory,
        Partitioner,
        Phase,
        Topology,
        Turn,
        Update,
    )
    from fedbench_core.api.payload import Payload, PayloadError, pack, unpack
    from fedbench_core.api.search import LogUniform, OneOf, SearchRange
    from fedbench_core.api.seeds import stream, torch_seed
    from fedbench_core.api.task import Task
    from fedbench_core.api.trackers import RunLog, TrackedRun, Tracker
    from fedbench_core.api.training import Training

__all__ = [
    "API_VERSION",
    "NOTED",
    "SERVER",
    "SPLITS",
    "Accumulator",
    "Aggregator",
    "AggregatorState",
    "Architecture",
    "Backbone",
    "Builder",
    "Client",
    "Compressor",
    "Control",
    "DataError",
    "DataRequest",
    "Dataset",
    "Examples",
    "FedbenchError",
    "Images",
    "Indices",
    "Labels",
    "LocalUpdate",
    "LogUniform",
    "Memory",
    "Message",
    "Method",
    "ModuleFactory",
    "Node",
    "Normalization",
    "OneOf",
    "Outputs",
    "Partitioner",
    "Payload",
    "PayloadError",
    "Phase",
    "RequestError",
    "RoundContext",
    "RunError",
    "RunLog",
    "SearchRange",
    "Splits",
    "Task",
    "Topology",
    "TrackedRun",
    "Tracker",
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
    "backbones": ("Backbone", "Normalization", "Outputs"),
    "context": ("SERVER", "Builder", "Node", "RoundContext"),
    "datasets": ("SPLITS", "Architecture", "DataRequest", "Dataset", "Splits"),
    "errors": ("DataError", "FedbenchError", "RequestError", "RunError", "unknown"),
    "examples": ("Examples", "Images", "Indices"),
    "hookspecs": ("API_VERSION", "hookimpl", "hookspec"),
    "parts": (
        "NOTED",
        "Accumulator",
        "Aggregator",
        "AggregatorState",
        "Client",
        "Compressor",
        "Control",
        "Labels",
        "LocalUpdate",
        "Memory",
        "Message",
        "Method",
        "ModuleFactory",
        "Partitioner",
        "Phase",
        "Topology",
        "Turn",
        "Update",
    ),
    "payload": ("Payload", "PayloadError", "pack", "unpack"),
    "search": ("LogUniform", "OneOf", "SearchRange"),
    "seeds": ("stream", "torch_seed"),
    "task": ("Task",),
    "trackers": ("RunLog", "TrackedRun", "Tracker"),
    "training": ("Training",),
}
_HOMES = {name: f"{__name__}.{module}" for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
