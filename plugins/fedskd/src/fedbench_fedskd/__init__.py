"""FedSKD: models of different architectures circulate in a ring and distill each other. A reconstruction."""

from collections.abc import Mapping
from dataclasses import replace

from fedbench_core.api import Control, LocalUpdate, Method, hookimpl
from fedbench_fedskd.update import FedSKD

__all__ = ["FedSKD"]

PAPER = "FedSKD, arXiv 2503.18981 (2025)"
WITHOUT_DISTILLATION = {"local_update.distil": "none"}
"""The ring alone: models circulate, and none learns from another."""


@hookimpl
def fedbench_register_local_updates() -> Mapping[str, type[LocalUpdate]]:
    """The local update."""
    return {"fedskd": FedSKD}


@hookimpl
def fedbench_register_methods() -> Mapping[str, Method]:
    """The method, and a variant of ours that averages."""
    fedskd = Method(
        "fedskd",
        aggregator="relay",
        topology="ring",
        pinned=("aggregator",),
        mixed_backbones=True,
        control=Control("fedskd", WITHOUT_DISTILLATION),
        fidelity="reconstruction",
        paper=PAPER,
        summary="Models of any architecture circulate in a ring and distill, by similarity, the models they meet. "
        "No server, no aggregation. A reconstruction.",
    )
    average = replace(
        fedskd,
        options={"local_update": {"merge": "average"}},
        control=Control("fedskd-average", WITHOUT_DISTILLATION),
        summary="A variant of FedSKD of our own: a returning model is averaged with the client's resident model.",
    )
    return {"fedskd": fedskd, "fedskd-average": average}
