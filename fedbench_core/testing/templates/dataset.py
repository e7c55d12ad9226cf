"""The dataset `example` for fedbench."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from fedbench_core.api import DataRequest, Dataset, Examples, Splits, Task, hookimpl, stream

api_version = 1


@dataclass(frozen=True)
class Example(Dataset):
    """Drawn images of lying and standing bars."""

    # Fields are options: `fedbench run --dataset example --set dataset.images=1000`.
    images: Annotated[int, Field(ge=60, description="training images; a third as many each to validate and test")] = 300

    def load(self, request: DataRequest) -> Splits:
        """The three splits; no image is in two of them."""
        size = request.image_size or 28
        # Your images go here: uint8 (n, H, W), (n, H, W, C) or (n, D, H, W), with labels (n, 1). Large ones are mapped
        # from files, np.load(path, mmap_mode="r"); where a file is missing or damaged, raise DataError with a sentence.
        train, val, test = (
            _drawn(split, count, size)
            for split, count in (("train", self.images), ("val", self.images // 3), ("test", self.images // 3))
        )
        # The digest names the data: other images, another digest. For a file it is the file's MD5.
        digest = f"example-1-{self.images}-{size}"
        return Splits("example", Task("binary", ("lying", "standing")), train, val, test, digest, official=True)


def _drawn(split: str, count: int, size: int) -> Examples:
    rng = stream(0, "example", split)
    labels = rng.integers(0, 2, count)
    images = rng.integers(0, 128, (count, size, size), dtype=np.uint8)
    middle = slice(size // 3, 2 * size // 3)
    images[labels == 0, middle, :] += 100
    images[labels == 1, :, middle] += 100
    return Examples(images, labels[:, None], np.arange(count), "none")


@hookimpl
def fedbench_register_datasets() -> Mapping[str, type[Dataset]]:
    """The dataset by its name."""
    return {"example": Example}
