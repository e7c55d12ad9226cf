"""The hooks through which a distribution adds to fedbench. Each returns a mapping from names to factories.

A factory is a callable with annotated keyword parameters and a default for each: its signature is the part's list of
options. Write ranges and meanings into the annotation: `Annotated[float, Field(gt=0, description="...")]` (pydantic).
Announce the module that implements the hooks as an entry point of the group `fedbench`. A module may say for which
version of the contract it was written, `api_version = 1`: under another one its hooks are not called, and
`fedbench plugins` says so.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

import pluggy

if TYPE_CHECKING:
    from fedbench_core.api.datasets import Architecture, Dataset
    from fedbench_core.api.parts import Aggregator, Compressor, LocalUpdate, Method, Partitioner, Topology

API_VERSION: Final = 1
"""Of the contract: of all that `fedbench_core.api` holds. It grows when plugins must be changed to go on working."""

hookspec = pluggy.HookspecMarker("fedbench")
hookimpl = pluggy.HookimplMarker("fedbench")


@hookspec
def fedbench_register_partitioners() -> Mapping[str, Callable[..., "Partitioner"]]:  # type: ignore[empty-body]
    """Ways to deal training images out to clients."""


@hookspec
def fedbench_register_local_updates() -> Mapping[str, Callable[..., "LocalUpdate"]]:  # type: ignore[empty-body]
    """What clients do on their turns."""


@hookspec
def fedbench_register_compressors() -> Mapping[str, Callable[..., "Compressor"]]:  # type: ignore[empty-body]
    """Ways to make payloads smaller."""


@hookspec
def fedbench_register_aggregators() -> Mapping[str, Callable[..., "Aggregator"]]:  # type: ignore[empty-body]
    """Ways to make one payload of many messages."""


@hookspec
def fedbench_register_topologies() -> Mapping[str, Callable[..., "Topology"]]:  # type: ignore[empty-body]
    """Who turns when, and where they write."""


@hookspec
def fedbench_register_datasets() -> Mapping[str, Callable[..., "Dataset"]]:  # type: ignore[empty-body]
    """Labelled images in three splits."""


@hookspec
def fedbench_register_backbones() -> Mapping[str, Callable[..., "Architecture"]]:  # type: ignore[empty-body]
    """Backbones beyond timm's."""


@hookspec
def fedbench_register_methods() -> Mapping[str, "Method"]:  # type: ignore[empty-body]
    """Methods: each a `Method`, which names its parts."""
