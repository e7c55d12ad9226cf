"""The partitioner `example` for fedbench."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from fedbench_core.api import Indices, Labels, Partitioner, RequestError, hookimpl

api_version = 1


@dataclass(frozen=True)
class Example(Partitioner):
    """Every client gets a fixed part of the images of the client before it; labels are dealt out evenly."""

    # Fields are options: `fedbench run --partitioner example --set partitioner.ratio=0.5`.
    ratio: Annotated[float, Field(gt=0, le=1, description="images of a client, as a part of those before it")] = 0.8

    def split(self, labels: Labels, clients: int, rng: np.random.Generator) -> list[Indices]:
        """One sorted array of indices per client: disjoint, complete, none empty."""
        if clients > len(labels):
            raise RequestError(f"example cannot deal {len(labels)} images to {clients} clients. Use fewer --clients.")
        # Your idea goes here. Draw from `rng` alone; `labels.classes` holds the labels, `labels.sites` where they are
        # from. Whoever looks at sites says so: `by = "sites"`.
        shares = self.ratio ** np.arange(clients)
        sizes = 1 + (shares / shares.sum() * (len(labels) - clients)).astype(int)
        sizes[0] += len(labels) - sizes.sum()
        dealt = np.split(rng.permutation(len(labels)), np.cumsum(sizes)[:-1])
        return [np.sort(part) for part in dealt]


@hookimpl
def fedbench_register_partitioners() -> Mapping[str, type[Partitioner]]:
    """The partitioner by its name."""
    return {"example": Example}
