"""The parts of the core, registered through the same hooks as plugins."""

from collections.abc import Callable, Mapping

from fedbench_core.api import (
    Aggregator,
    Compressor,
    Dataset,
    LocalUpdate,
    Method,
    Partitioner,
    Topology,
    Tracker,
    hookimpl,
)
from fedbench_core.parts.aggregators import AGGREGATORS
from fedbench_core.parts.compressors import COMPRESSORS
from fedbench_core.parts.partitioners import PARTITIONERS
from fedbench_core.parts.svd import Svd
from fedbench_core.parts.topologies import TOPOLOGIES
from fedbench_core.parts.trackers import TRACKERS


@hookimpl
def fedbench_register_partitioners() -> Mapping[str, Callable[..., Partitioner]]:
    """iid, dirichlet, shards, quantity, sites."""
    return PARTITIONERS


@hookimpl
def fedbench_register_aggregators() -> Mapping[str, Callable[..., Aggregator]]:
    """mean, relay, class-means."""
    return AGGREGATORS


@hookimpl
def fedbench_register_compressors() -> Mapping[str, Callable[..., Compressor]]:
    """dense, half, svd."""
    return {**COMPRESSORS, "svd": Svd}


@hookimpl
def fedbench_register_topologies() -> Mapping[str, Callable[..., Topology]]:
    """star, ring."""
    return TOPOLOGIES


@hookimpl
def fedbench_register_datasets() -> Mapping[str, Callable[..., Dataset]]:
    """The MedMNIST sets, npz and phantom."""
    from fedbench_core.data.datasets import DATASETS  # noqa: PLC0415  # slow to import, and not needed for a part alone

    return DATASETS


@hookimpl
def fedbench_register_local_updates() -> Mapping[str, Callable[..., LocalUpdate]]:
    """The local updates of the reference methods."""
    from fedbench_core.parts.references import LOCAL_UPDATES  # noqa: PLC0415  # as above

    return LOCAL_UPDATES


@hookimpl
def fedbench_register_methods() -> Mapping[str, Method]:
    """local, centralized, majority."""
    from fedbench_core.parts.references import METHODS  # noqa: PLC0415  # as above

    return METHODS


@hookimpl
def fedbench_register_trackers() -> Mapping[str, Callable[..., Tracker]]:
    """tensorboard, mlflow, wandb."""
    return TRACKERS
