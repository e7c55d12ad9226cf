"""Search ranges of settings: which values tuning tries, declared beside the annotation of an option."""

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

_DIGITS = 3
_EDGE = 0.1
"""The outer part of a range, on its scale, in which a value lies at the edge."""


@dataclass(frozen=True)
class LogUniform:
    """Numbers from `low` to `high`, evenly distributed on a logarithmic scale. ValueError unless 0 < low < high."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    low: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    high: Annotated[float, Field(gt=0, allow_inf_nan=False)]

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high < math.inf:
            raise ValueError(f"expected 0 < low < high, got low {self.low} and high {self.high}")

    @property
    def limits(self) -> tuple[float, ...]:
        """The values that an option must accept for the whole range to be valid."""
        return self.low, self.high

    def at(self, fraction: float) -> float:
        """The value below which this fraction (0 to 1) of the range lies, with three significant digits."""
        value = self.low * (self.high / self.low) ** fraction
        return min(max(float(f"{value:.{_DIGITS}g}"), self.low), self.high)

    def at_edge(self, value: Any) -> bool:
        """Whether a number lies in the first or the last tenth of the logarithmic scale, or beyond."""
        if not _is_number(value):
            return False
        return value <= 0 or not _EDGE <= math.log(value / self.low) / math.log(self.high / self.low) <= 1 - _EDGE

    def __str__(self) -> str:
        """`0.001 to 1`."""
        return f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class OneOf:
    """One of several values, each as likely as the others. ValueError without at least two."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if len(self.values) < 2:  # noqa: PLR2004  # one value is no choice
            raise ValueError(f"expected at least two values, got {len(self.values)}")

    @property
    def limits(self) -> tuple[Any, ...]:
        """The values that an option must accept for the whole range to be valid."""
        return self.values

    def at(self, fraction: float) -> Any:
        """The value at this fraction (0 to 1) of the list."""
        return self.values[min(int(fraction * len(self.values)), len(self.values) - 1)]

    def at_edge(self, value: Any) -> bool:
        """Whether a number is the smallest or the largest of at least three, or beyond; other values have no edge."""
        if not _is_number(value) or len(self.values) < 3 or not all(map(_is_number, self.values)):  # noqa: PLR2004  # as said
            return False
        return not min(self.values) < value < max(self.values)

    def __str__(self) -> str:
        """`one of 0.1, 1, 10`."""
        return f"one of {', '.join(map(str, self.values))}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


SearchRange = LogUniform | OneOf


def range_in(metadata: tuple[Any, ...]) -> SearchRange | None:
    """The search range in the metadata of an annotation; None if there is none."""
    return next((value for value in metadata if isinstance(value, LogUniform | OneOf)), None)
