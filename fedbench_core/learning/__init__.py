"""Building blocks of parts: local training, pairs of networks, similarities, prototypes, model deltas, messages."""

from fedbench_core.learning.agreement import Agreement
from fedbench_core.learning.batches import Batch, Data, TensorData, batches, positions
from fedbench_core.learning.deltas import apply_delta, delta
from fedbench_core.learning.local import Loss, fine_tune, fit, load_global, merged, optimizer, outputs_of
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
from fedbench_core.learning.pooling import pooled
from fedbench_core.learning.projected import Projected
from fedbench_core.learning.prototypes import NearestPrototype, class_means, prototype_distance

__all__ = [
    "Agreement",
    "Batch",
    "Data",
    "ForwardPass",
    "Loss",
    "NearestPrototype",
    "Projected",
    "Side",
    "TensorData",
    "Terms",
    "WeightedMean",
    "adaptive_denominator",
    "apply_delta",
    "batches",
    "check_pair",
    "class_means",
    "delta",
    "fine_tune",
    "fit",
    "fit_pair",
    "hint",
    "learnable",
    "load_global",
    "merged",
    "optimizer",
    "outputs_of",
    "pooled",
    "positions",
    "projection",
    "prototype_distance",
]
