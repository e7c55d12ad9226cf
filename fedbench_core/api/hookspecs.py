"""The hooks through which a distribution adds to fedbench. Each returns a mapping from names to factories.

A factory is a callable with annotated keyword parameters and a default for each: its signature is the part's list of
options. Write ranges and meanings into the annotation: `Annotated[float, Field(gt=0, description="...")]` (pydantic).
Declare the module that implements the hooks as an entry point of the group `fedbench`. A module may declare the
version of the contract that it was written for, `api_version = 2`: under another version its hooks are not called, and
`fedbench plugins` shows why.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

import pluggy

if TYPE_CHECKING:
    from fedbench_core.api.datasets import Architecture, Dataset
    from fedbench_core.api.parts import Aggregator, Compressor, LocalUpdate, Method, Partitioner, Topology
    from fedbench_core.api.trackers import Tracker

API_VERSION: Final = 2
"""The version of the contract, that is, of `fedbench_core.api`. It grows when plugins have to be changed."""

hookspec = pluggy.HookspecMarker("fedbench")
hookimpl = pluggy.HookimplMarker("fedbench")


@hookspec
def fedbench_register_partitioners() -> Mapping[str, Callable[..., "Partitioner"]]:  # type: ignore[empty-body]
    """Ways to split the training images among the clients."""


@hookspec
def fedbench_register_local_updates() -> Mapping[str, Callable[..., "LocalUpdate"]]:  # type: ignore[empty-body]
    """What clients do in their turns."""


@hookspec
def fedbench_register_compressors() -> Mapping[str, Callable[..., "Compressor"]]:  # type: ignore[empty-body]
    """Ways to make payloads smaller."""


@hookspec
def fedbench_register_aggregators() -> Mapping[str, Callable[..., "Aggregator"]]:  # type: ignore[empty-body]
    """Ways to turn the messages that a node received into what it publishes."""


@hookspec
def fedbench_register_topologies() -> Mapping[str, Callable[..., "Topology"]]:  # type: ignore[empty-body]
    """Who takes a turn when, and who sends to whom."""


@hookspec
def fedbench_register_datasets() -> Mapping[str, Callable[..., "Dataset"]]:  # type: ignore[empty-body]
    """Labeled images in three splits."""


@hookspec
def fedbench_register_backbones() -> Mapping[str, Callable[..., "Architecture"]]:  # type: ignore[empty-body]
    """Backbones beyond timm's."""


@hookspec
def fedbench_register_methods() -> Mapping[str, "Method"]:  # type: ignore[empty-body]
    """Methods: each is a `Method`, which names its parts."""


@hookspec
def fedbench_register_trackers() -> Mapping[str, Callable[..., "Tracker"]]:  # type: ignore[empty-body]
    """Programs that show runs while they are computed, or afterwards. They are made without options."""
