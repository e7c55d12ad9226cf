"""The levels at which two models are compared, with a weight each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from fedbench_core.learning import similarity

LEVELS = ("batch", "pixel", "region")


@dataclass(frozen=True)
class Levels:
    """The levels, their weights, and the maps that are compared. A level with weight 0 is not computed."""

    batch_weight: Annotated[float, Field(ge=0, description="weight of the batch level (pairs of images); 0: off")] = 2.0
    pixel_weight: Annotated[
        float, Field(ge=0, description="weight of the pixel level (pairs of locations); 0: off")
    ] = 3.0
    region_weight: Annotated[
        float, Field(ge=0, description="weight of the region level (pairs of regions); 0: off")
    ] = 5.0
    literal: Annotated[
        bool, Field(description="divide the batch level by b^2, as its authors do, who weight it by 3000")
    ] = False
    across: Annotated[
        similarity.Across,
        Field(description="region level: pairs of samples (same region), or pairs of regions (same sample)"),
    ] = "samples"
    regions: Annotated[
        int | None, Field(ge=2, description="regions per side; none: half the locations of the pixel level")
    ] = None
    layers: Annotated[
        Literal["last", "stages"],
        Field(description="last: the deepest map with at least 4 x 4 locations; stages: all stage ends up to it"),
    ] = "last"

    @property
    def levels(self) -> tuple[str, ...]:
        """The names of the levels with a positive weight."""
        return tuple(level for level in LEVELS if getattr(self, f"{level}_weight"))

    def compare(self, first: Sequence[Tensor], second: Sequence[Tensor]) -> dict[str, Tensor]:
        """The weighted loss of each level, a mean over the pairs of maps. first, second: the maps of all stage ends.

        Symmetric in the two models. RequestError if one of them has no map of at least 4 x 4 locations.
        """
        pairs = self.pairs(first, second)
        sums = {level: sum((self._loss(level, *pair) for pair in pairs), start=0.0) for level in self.levels}
        return {level: getattr(self, f"{level}_weight") / len(pairs) * sum_ for level, sum_ in sums.items()}

    def pairs(self, first: Sequence[Tensor], second: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """The pairs of maps that are compared."""
        ours, theirs = similarity.deepest(first), similarity.deepest(second)
        if self.layers == "last":
            return [(first[ours], second[theirs])]
        return [(first[one], second[other]) for one, other in similarity.matched(ours + 1, theirs + 1)]

    def _loss(self, level: str, first: Tensor, second: Tensor) -> Tensor:
        if level == "batch":
            return similarity.batch_level(first, second, literal=self.literal)
        if level == "pixel":
            return similarity.pixel_level(first, second)
        return similarity.region_level(first, second, across=self.across, regions=self.regions)
