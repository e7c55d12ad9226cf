"""FedSKD: models of different shapes travel a ring and learn from each other, without a server. A reconstruction."""

from collections.abc import Mapping

from fedbench_core.api import LocalUpdate, Method, hookimpl
from fedbench_fedskd.update import FedSKD

__all__ = ["FedSKD"]

PAPER = "FedSKD, arXiv 2503.18981 (2025)"


@hookimpl
def fedbench_register_local_updates() -> Mapping[str, type[LocalUpdate]]:
    """The update."""
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
            summary="Models of any shape travel a ring; host and visitor learn each other's similarities. No server.",
        )
    }
