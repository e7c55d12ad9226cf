"""The dataset `example` for fedbench."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from fedbench_core.api import DataRequest, Dataset, Examples, Splits, Task, hookimpl, stream

api_version = 2


@dataclass(frozen=True)
class Example(Dataset):
    """Generated images of horizontal and vertical bars."""

    # Fields are options: `fedbench run --dataset example --set dataset.images=1000`.
    images: Annotated[int, Field(ge=60, description="training images; a third as many for validation and for test")] = (
        300
    )

    def load(self, request: DataRequest) -> Splits:
        """The three splits, which are disjoint."""
        size = request.image_size or 28
        # Your images go here: uint8 (n, H, W), (n, H, W, C) or (n, D, H, W), with labels (n, 1). Map large ones from
        # files, np.load(path, mmap_mode="r"); if a file is missing or damaged, raise DataError.
        train, val, test = (
            _generated(split, count, size)
            for split, count in (("train", self.images), ("val", self.images // 3), ("test", self.images // 3))
        )
        # The digest identifies the data: the MD5 of a file, or a name with all that decides about the images.
        digest = f"example-1-{self.images}-{size}"
        return Splits("example", Task("binary", ("horizontal", "vertical")), train, val, test, digest, official=True)


def _generated(split: str, count: int, size: int) -> Examples:
    rng = stream(0, "example", split)
    labels = rng.integers(0, 2, count)
    images = rng.integers(0, 128, (count, size, size), dtype=np.uint8)
    middle = slice(size // 3, 2 * size // 3)
    images[labels == 0, middle, :] += 100
    images[labels == 1, :, middle] += 100
    return Examples(images, labels[:, None], np.arange(count), "none")


@hookimpl
def fedbench_register_datasets() -> Mapping[str, type[Dataset]]:
    """The dataset, by name."""
    return {"example": Example}
