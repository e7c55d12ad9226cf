"""What parts are built from: local training, pairs of networks, similarities, letters that agree."""

from fedbench_core.learning.batches import batches, positions
from fedbench_core.learning.changes import apply, change
from fedbench_core.learning.letters import Agreement
from fedbench_core.learning.local import Penalty, adopt, fit, optimizer
from fedbench_core.learning.pair import (
    Shown,
    Side,
    Terms,
    adaptive_denominator,
    fit_pair,
    hint,
    inspect_pair,
    learnable,
    projection,
)

__all__ = [
    "Agreement",
    "Penalty",
    "Shown",
    "Side",
    "Terms",
    "adaptive_denominator",
    "adopt",
    "apply",
    "batches",
    "change",
    "fit",
    "fit_pair",
    "hint",
    "inspect_pair",
    "learnable",
    "optimizer",
    "positions",
    "projection",
]
