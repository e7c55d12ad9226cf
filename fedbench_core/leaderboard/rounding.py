"""Numbers as text, rounded to the digits that their confidence interval supports."""

import math

_SIGNIFICANT = 3
"""Significant digits of a number without an interval."""
MAX_DECIMALS = 4


def supported_decimals(half_width: float, most: int = MAX_DECIMALS) -> int:
    """Decimals of mean ± half_width: up to its first significant digit, or the second if the first is 1; most for 0.

    Negative for large intervals: -1 means tens. Rounding 0.14 to 0.1 would lose almost a third of a half-width,
    rounding 0.94 to 0.9 hardly anything.
    """
    if not half_width:
        return most
    exponent = math.floor(math.log10(half_width))
    starts_with_one = half_width / 10.0**exponent < 2  # noqa: PLR2004
    return min(most, int(starts_with_one) - exponent)


def mean_text(mean: float | None, half_width: float | None, most: int = MAX_DECIMALS) -> str:
    """A mean with half its 95 % interval: `0.54±0.03`; the mean alone without an interval, or with one of no width."""
    if mean is None:
        return "–"
    if half_width is None or not round(half_width, most):
        return round_significant(mean)
    decimals = supported_decimals(half_width, most)
    return f"{_fixed(mean, decimals)}±{_fixed(half_width, decimals)}"


def round_significant(value: float) -> str:
    """A number with three significant digits, and at least its units: `0.0123`, `45.7`, `10079`."""
    if not value:
        return "0"
    return _fixed(value, max(0, _SIGNIFICANT - 1 - math.floor(math.log10(abs(value)))))


def _fixed(value: float, decimals: int) -> str:
    return f"{round(value, decimals):.{max(0, decimals)}f}"
