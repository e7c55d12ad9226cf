"""The neutral parts, registered by the hooks that every plugin uses."""

from collections.abc import Callable, Mapping

from fedbench_core.api import Aggregator, Compressor, Dataset, LocalUpdate, Method, Partitioner, Topology, hookimpl
from fedbench_core.parts.aggregators import AGGREGATORS
from fedbench_core.parts.compressors import COMPRESSORS
from fedbench_core.parts.partitioners import PARTITIONERS
from fedbench_core.parts.svd import Svd
from fedbench_core.parts.topologies import TOPOLOGIES


@hookimpl
def fedbench_register_partitioners() -> Mapping[str, Callable[..., Partitioner]]:
    """iid, dirichlet, shards, quantity, sites."""
    return PARTITIONERS


@hookimpl
def fedbench_register_aggregators() -> Mapping[str, Callable[..., Aggregator]]:
    """mean, relay."""
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
    from fedbench_core.data import DATASETS  # noqa: PLC0415  # its libraries must not slow down who needs a part only

    return DATASETS


@hookimpl
def fedbench_register_local_updates() -> Mapping[str, Callable[..., LocalUpdate]]:
    """What the reference methods do on a turn."""
    from fedbench_core.parts.references import LOCAL_UPDATES  # noqa: PLC0415  # as above: it stands on learning

    return LOCAL_UPDATES


@hookimpl
def fedbench_register_methods() -> Mapping[str, Method]:
    """local, centralized."""
    from fedbench_core.parts.references import METHODS  # noqa: PLC0415  # as above

    return METHODS
