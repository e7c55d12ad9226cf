"""Numbers with no more digits than their interval supports."""

import math

_DIGITS = 3
"""Significant digits of a number whose interval says nothing."""
_TELLING = 2
MOST = 4
"""Decimals, however little a number varies."""


def decimals(half_width: float, most: int = MOST) -> int:
    """Decimals that an interval of mean +- half_width supports: its first digit, and the second if the first is 1.

    Negative where not even the units are known: -1 means tens. Rounding a half-width of 0.14 to 0.1 would take almost
    a third of it away, 0.94 to 0.9 hardly anything.
    """
    exponent = math.floor(math.log10(half_width))
    leading = half_width / 10.0**exponent
    return min(most, (1 if leading < _TELLING else 0) - exponent)


def measured(mean: float | None, half_width: float | None, most: int = MOST) -> str:
    """A mean with half its 95 % interval: `0.54±0.03`; without an interval, or one of no width, the mean alone.

    Written together, so that no table breaks it.
    """
    if mean is None:
        return "–"
    if half_width is None or not round(half_width, most):
        return significant(mean)
    places = decimals(half_width, most)
    return f"{_fixed(mean, places)}±{_fixed(half_width, places)}"


def significant(value: float) -> str:
    """A number to three significant digits, and never less than its units: `0.0123`, `45.7`, `10079`."""
    if not value:
        return "0"
    return _fixed(value, max(0, _DIGITS - 1 - math.floor(math.log10(abs(value)))))


def _fixed(value: float, places: int) -> str:
    return f"{round(value, places):.{max(0, places)}f}"
