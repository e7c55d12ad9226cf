"""Means that leave out what is undefined, and how far to trust them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedbench_core.statistics import LEVEL

Values = Sequence[float | None] | npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean over `count` defined values with its interval; `left_out` were undefined.

    The mean of no value is NaN; so are the bounds of fewer than two.
    """

    mean: float
    low: float
    high: float
    count: int
    left_out: int


def defined_mean(values: Values) -> tuple[float, int]:
    """The mean of what is defined (neither None nor NaN), NaN if nothing is, and how many values were left out.

    What is undefined counts neither in the sum nor in the divisor.
    """
    known = [float(value) for value in values if value is not None and not np.isnan(value)]
    return (float(np.mean(known)) if known else np.nan), len(values) - len(known)


def mean_interval(values: Values) -> Interval:
    """The mean of the defined values with its 95 % interval, by Student's t."""
    return mean_intervals(np.array(values, dtype=np.float64)[:, None])[0]


def mean_intervals(table: npt.NDArray[np.float64]) -> list[Interval]:
    """The mean of every column of `table` (values, columns) with its 95 % interval; NaN is undefined. All at once."""
    from scipy import stats  # noqa: PLC0415  # slow to import, and most commands need no statistics

    known = np.ma.masked_invalid(table)
    counts = known.count(axis=0)
    means = known.mean(axis=0).filled(np.nan)
    errors = known.std(axis=0, ddof=1).filled(np.nan) / np.sqrt(np.maximum(counts, 1))
    reaches = stats.t.isf(LEVEL / 2, np.maximum(counts - 1, 1)) * errors
    return [
        Interval(float(mean), float(mean - reach), float(mean + reach), int(count), len(table) - int(count))
        for mean, reach, count in zip(means, reaches, counts, strict=True)
    ]
