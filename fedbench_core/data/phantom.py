"""The phantom: synthetic images of stained cells, drawn when they are first used, without a file or a network."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Annotated, Final

import numpy as np
import numpy.typing as npt
from pydantic import Field

from fedbench_core.api.datasets import SPLITS, DataRequest, Splits
from fedbench_core.api.errors import RequestError
from fedbench_core.api.examples import Examples
from fedbench_core.api.seeds import stream
from fedbench_core.api.task import Task
from fedbench_core.data.cache import mapped
from fedbench_core.data.cells import CLASSES, draw
from fedbench_core.data.npy import images_header, npy

# A change of a single pixel makes another dataset and needs a new version; a golden test checks this.
VERSION: Final = 1
SEED: Final = 20
SIZES: Final = (28, 64, 128, 224)
DEFAULT_SIZE: Final = 64
BATCH: Final = 32

Count = Annotated[int, Field(ge=64, le=1_000_000)]


@dataclass(frozen=True)
class Phantom:
    """Synthetic cells of 8 kinds, which differ in nucleus and granules, from several scanners.

    Position, size, rotation, stain and neighbors vary. Each scanner shifts color and contrast, and scanners have
    different numbers of images. Some training labels are wrong; validation and test labels are correct.
    """

    train: Annotated[Count, Field(description="training images")] = 960
    val: Annotated[Count, Field(description="validation images")] = 160
    test: Annotated[Count, Field(description="test images")] = 400
    sites: Annotated[int, Field(ge=1, le=8, description="scanners")] = 4
    label_noise: Annotated[float, Field(ge=0, le=0.5, description="share of wrong training labels")] = 0.05

    def load(self, request: DataRequest) -> Splits:
        """The splits, drawn once and then mapped from the cache; RequestError for an unsupported image size."""
        size = DEFAULT_SIZE if request.image_size is None else request.image_size
        if size not in SIZES:
            raise RequestError(
                f"phantom has no images of {size} pixels. Available: --image-size {', '.join(map(str, SIZES))}."
            )
        options = json.dumps({**asdict(self), "image_size": size}, sort_keys=True)
        digest = f"phantom-{VERSION}-{hashlib.sha256(options.encode()).hexdigest()[:16]}"
        arrays = mapped(request.cache / digest, lambda: self._draw(size, request))
        train, val, test = (
            Examples(images, arrays[f"{split}_labels"][:, None], np.arange(len(images)), "last")
            for split in SPLITS
            for images in [arrays[f"{split}_images"]]
        )
        sites = {split: np.asarray(arrays[f"{split}_sites"]) for split in SPLITS}
        names = tuple(f"scanner {number}" for number in range(self.sites))
        task = Task("multi-class", CLASSES)
        return Splits("phantom", task, train, val, test, digest, official=False, sites=sites, site_names=names)

    def _draw(self, size: int, request: DataRequest) -> Iterator[tuple[str, Iterable[bytes]]]:
        request.say(f"Drawing {self.train + self.val + self.test} phantom images of {size} pixels")
        for split, count in zip(SPLITS, (self.train, self.val, self.test), strict=True):
            rng = stream(SEED, "phantom", VERSION, split)
            labels = _assign(count, _decreasing(len(CLASSES), 4), rng)
            sites = _assign(count, _decreasing(self.sites, 0), rng)
            yield f"{split}_images", _images(labels, sites, size, rng)
            noise = self.label_noise if split == "train" else 0
            yield f"{split}_labels", [npy(_corrupted(labels, noise, stream(SEED, "phantom", VERSION, "mistakes")))]
            yield f"{split}_sites", [npy(sites)]


def _decreasing(groups: int, floor: int) -> list[int]:
    """Relative sizes that decrease to `floor` + 1: four scanners get 4, 3, 2 and 1 tenths of the images."""
    return list(range(groups + floor, floor, -1))


def _assign(count: int, sizes: list[int], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """A group number for each of `count` images, shuffled; group sizes are proportional to `sizes`, to within one."""
    ends = np.cumsum(sizes) * count // sum(sizes)
    return rng.permutation(np.searchsorted(ends, np.arange(count), side="right"))


def _corrupted(labels: npt.NDArray[np.int64], share: float, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """`labels` with about `share` of them replaced by a random other label."""
    wrong = rng.random(len(labels)) < share
    return np.where(wrong, (labels + rng.integers(1, len(CLASSES), len(labels))) % len(CLASSES), labels)


def _images(
    labels: npt.NDArray[np.int64], sites: npt.NDArray[np.int64], size: int, rng: np.random.Generator
) -> Iterator[bytes]:
    yield images_header(len(labels), size, size, 3)
    for start in range(0, len(labels), BATCH):
        rows = slice(start, start + BATCH)
        yield draw(labels[rows], sites[rows], size, rng).tobytes()
