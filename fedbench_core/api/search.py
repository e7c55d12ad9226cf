"""Search ranges of settings: which values tuning tries, declared beside the annotation of an option."""

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

_DIGITS = 3


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

    def __str__(self) -> str:
        """`one of 0.1, 1, 10`."""
        return f"one of {', '.join(map(str, self.values))}"


SearchRange = LogUniform | OneOf


def range_in(metadata: tuple[Any, ...]) -> SearchRange | None:
    """The search range in the metadata of an annotation; None if there is none."""
    return next((value for value in metadata if isinstance(value, LogUniform | OneOf)), None)
