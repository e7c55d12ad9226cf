"""The points of a learning curve, which are computed without matplotlib."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Curve:
    """Validation scores of an entry: `mean`, `low` and `high` (n,) over seeds after `rounds` (n,)."""

    rounds: npt.NDArray[np.int64]
    mean: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
