"""The partitioner `example` for fedbench."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from fedbench_core.api import Indices, Labels, Partitioner, RequestError, hookimpl

api_version = 2


@dataclass(frozen=True)
class Example(Partitioner):
    """Each client has a fixed fraction of the images of the client before it; classes are evenly distributed."""

    # Fields are options: `fedbench run --partitioner example --set partitioner.ratio=0.5`.
    ratio: Annotated[
        float, Field(gt=0, le=1, description="images of a client, as a fraction of those of the client before")
    ] = 0.8

    def split(self, labels: Labels, clients: int, rng: np.random.Generator) -> list[Indices]:
        """One sorted array of indices per client: disjoint, complete, none empty."""
        if clients > len(labels):
            raise RequestError(
                f"example can't split {len(labels)} images among {clients} clients. Use fewer --clients."
            )
        # Your idea goes here. Draw from `rng` only; `labels.classes` holds the labels, `labels.sites` the sites. A
        # partitioner that uses sites declares `by = "sites"`.
        shares = self.ratio ** np.arange(clients)
        sizes = 1 + (shares / shares.sum() * (len(labels) - clients)).astype(int)
        sizes[0] += len(labels) - sizes.sum()
        parts = np.split(rng.permutation(len(labels)), np.cumsum(sizes)[:-1])
        return [np.sort(part) for part in parts]


@hookimpl
def fedbench_register_partitioners() -> Mapping[str, type[Partitioner]]:
    """The partitioner, by name."""
    return {"example": Example}
