"""FedSKD: models of different architectures circulate in a ring and distill each other. A reconstruction."""

from collections.abc import Mapping

from fedbench_core.api import LocalUpdate, Method, hookimpl
from fedbench_fedskd.update import FedSKD

__all__ = ["FedSKD"]

PAPER = "FedSKD, arXiv 2503.18981 (2025)"


@hookimpl
def fedbench_register_local_updates() -> Mapping[str, type[LocalUpdate]]:
    """The local update."""
    return {"fedskd": FedSKD}


@hookimpl
def fedbench_register_methods() -> Mapping[str, Method]:
    """The method."""
    return {
        "fedskd": Method(
            "fedskd",
            aggregator="relay",
            topology="ring",
            pinned=("aggregator",),
            mixed_backbones=True,
            fidelity="reconstruction",
            paper=PAPER,
            summary="Models of any architecture circulate in a ring and distill, by similarity, the models they meet. "
            "No server. A reconstruction.",
        )
    }
