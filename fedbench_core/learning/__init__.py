"""What parts are built from: local training, pairs of networks, similarities, messages that agree."""

from fedbench_core.learning.agreement import Agreement
from fedbench_core.learning.batches import batches, positions
from fedbench_core.learning.deltas import apply, change
from fedbench_core.learning.local import Penalty, fit, load_global, optimizer
from fedbench_core.learning.pair import (
    ForwardPass,
    Side,
    Terms,
    adaptive_denominator,
    check_pair,
    fit_pair,
    hint,
    learnable,
    projection,
)

__all__ = [
    "Agreement",
    "ForwardPass",
    "Penalty",
    "Side",
    "Terms",
    "adaptive_denominator",
    "apply",
    "batches",
    "change",
    "check_pair",
    "fit",
    "fit_pair",
    "hint",
    "learnable",
    "load_global",
    "optimizer",
    "positions",
    "projection",
]
