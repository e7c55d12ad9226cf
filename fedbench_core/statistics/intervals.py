"""Means over the defined values, with 95 % intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedbench_core.statistics import LEVEL

Values = Sequence[float | None] | npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """The mean of `count` defined values with its 95 % interval; `left_out` values were undefined.

    The mean is NaN without a value, the bounds are NaN with fewer than two.
    """

    mean: float
    low: float
    high: float
    count: int
    left_out: int


def defined_mean(values: Values) -> tuple[float, int]:
    """The mean of the defined values (neither None nor NaN), NaN if there are none, and how many were left out."""
    known = [float(value) for value in values if value is not None and not np.isnan(value)]
    return (float(np.mean(known)) if known else np.nan), len(values) - len(known)


def mean_interval(values: Values) -> Interval:
    """The mean of the defined values with its 95 % interval (Student's t)."""
    return mean_intervals(np.array(values, dtype=np.float64)[:, None])[0]


def mean_intervals(table: npt.NDArray[np.float64]) -> list[Interval]:
    """`mean_interval` of every column of `table` (values, columns), in one vectorized call; NaN is undefined."""
    from scipy.special import stdtrit  # noqa: PLC0415  # slow to import, though not as slow as scipy.stats

    known = np.isfinite(table)
    counts = known.sum(axis=0)
    means = _divided(np.where(known, table, 0.0).sum(axis=0), counts)
    squares = np.where(known, table - means, 0.0) ** 2
    errors = np.sqrt(_divided(squares.sum(axis=0), counts - 1)) / np.sqrt(np.maximum(counts, 1))
    reaches = -stdtrit(np.maximum(counts - 1, 1), LEVEL / 2) * errors
    return [
        Interval(float(mean), float(mean - reach), float(mean + reach), int(count), len(table) - int(count))
        for mean, reach, count in zip(means, reaches, counts, strict=True)
    ]


def _divided(sums: npt.NDArray[np.float64], counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """NaN where nothing was counted."""
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
