"""Building blocks of parts: local training, pairs of networks, similarities, model deltas, checks of messages."""

from fedbench_core.learning.agreement import Agreement
from fedbench_core.learning.batches import Batch, Data, TensorData, batches, positions
from fedbench_core.learning.deltas import apply_delta, delta
from fedbench_core.learning.local import Loss, fit, load_global, optimizer, outputs_of
from fedbench_core.learning.means import WeightedMean
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
    "Batch",
    "Data",
    "ForwardPass",
    "Loss",
    "Side",
    "TensorData",
    "Terms",
    "WeightedMean",
    "adaptive_denominator",
    "apply_delta",
    "batches",
    "check_pair",
    "delta",
    "fit",
    "fit_pair",
    "hint",
    "learnable",
    "load_global",
    "optimizer",
    "outputs_of",
    "positions",
    "projection",
]
