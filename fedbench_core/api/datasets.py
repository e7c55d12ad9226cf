"""Datasets: three splits of labeled images, memory-mapped from disk."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fedbench_core.api.backbones import Backbone
from fedbench_core.api.examples import Examples
from fedbench_core.api.task import Task

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Splits:
    """A dataset in MedMNIST's layout.

    train, val, test: whole splits over memory-mapped arrays; sites: split -> (n,) site numbers 0..S-1, if the data
    has them; site_names: the names of sites 0..S-1, if they have names; files: split -> the name of each image's file,
    if it has one; digest: MD5 of the source file, or the name and version of its generator; official: whether the
    digest is that of a published file.
    """

    name: str
    task: Task
    train: Examples
    val: Examples
    test: Examples
    digest: str
    official: bool
    sites: Mapping[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    site_names: tuple[str, ...] = ()
    files: Mapping[str, npt.NDArray[np.str_]] = field(default_factory=dict)

    @property
    def channels(self) -> int:
        """Input channels of a backbone: 1 for gray images, 3 for color, the depth for volumes."""
        shape = self.train.images.shape
        return int({"none": 1, "last": shape[-1], "first": shape[1]}[self.train.channels])

    @property
    def image_size(self) -> int:
        """Height (and width) of an image in pixels."""
        return int(self.train.images.shape[2 if self.train.channels != "none" else 1])


def _silent(_line: str) -> None:
    """Print nothing."""


@dataclass(frozen=True)
class DataRequest:
    """Where a dataset may look for files, and which files it may accept.

    root: a folder with downloaded files (None: MedMNIST's own default); base: the folder of relative paths; cache: the
    folder of unpacked arrays; image_size: pixels per side, None for the dataset's default; say: called with a line
    about what takes long.
    """

    cache: Path
    root: Path | None = None
    base: Path = Path()
    image_size: int | None = None
    allow_unofficial: bool = False
    say: Callable[[str], None] = _silent


class Dataset(Protocol):
    """A named source of images."""

    def load(self, request: DataRequest) -> Splits:
        """The splits; DataError names the file that is missing or wrong."""
        ...


class Architecture(Protocol):
    """A named kind of backbone with its options."""

    @property
    def name(self) -> str:
        """The exact id, which a record holds."""
        ...

    def build(self, outputs: int, channels: int, image_size: int) -> Backbone:
        """A network with new weights, drawn from torch's global generator; the engine seeds it before."""
        ...
