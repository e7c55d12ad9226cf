"""What local updates are built from."""

from fedbench_core.learning.batches import batches, positions
from fedbench_core.learning.local import Penalty, adopt, fit, optimizer

__all__ = ["Penalty", "adopt", "batches", "fit", "optimizer", "positions"]
