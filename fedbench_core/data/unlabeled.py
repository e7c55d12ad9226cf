"""Images without labels: those of a folder of PNG and JPEG files, or of an npz file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import numpy.typing as npt

from fedbench_core.api.errors import RequestError
from fedbench_core.api.examples import Images
from fedbench_core.data.headers import check_members
from fedbench_core.data.layout import channels, reading, wrong
from fedbench_core.data.pictures import SUFFIXES, Fit, has_color, read_picture


@dataclass(frozen=True)
class Unlabeled:
    """Images and where they come from. names: the file of each, None for a number; classes: None if not known."""

    source: str
    images: Images
    names: list[str] | None = None
    classes: tuple[str, ...] | None = None


def read_folder(folder: Path, size: int, *, color: bool, fit: Fit) -> Unlabeled:
    """The PNG and JPEG files below `folder`, in the order of their names, as images of `size` pixels per side.

    RequestError if there are none, or if a file has colors that the model does not take; DataError for damaged ones.
    """
    files = sorted(filter(is_picture, folder.rglob("*")))
    if not files:
        raise RequestError(f"{folder} holds no PNG or JPEG file. Give another folder, an npz file, or a dataset.")
    return read_pictures(folder, files, size, color=color, fit=fit)


def is_picture(path: Path) -> bool:
    """Whether a file has the name of a PNG or JPEG file."""
    return path.suffix.lower() in SUFFIXES and path.is_file()


def read_pictures(folder: Path, files: Sequence[Path], size: int, *, color: bool, fit: Fit) -> Unlabeled:
    """PNG and JPEG files, named by their paths in `folder`; errors as in `read_folder`."""
    for file in files:
        if not color and has_color(file):
            raise RequestError(f"{file} has 3 channels; the model takes 1. Save it in gray, or use another model.")
    arrays = [read_picture(file, size, color=color, fit=fit) for file in files]
    return Unlabeled(str(folder), _images(np.stack(arrays)), [str(file.relative_to(folder)) for file in files])


def read_npz(path: Path, split: str) -> Unlabeled:
    """The array `images` of an npz file, or that of a split in MedMNIST's layout, and the names of its `classes`.

    RequestError if it has neither; DataError if it is damaged, or the images are not uint8.
    """
    with reading(path), ZipFile(path) as archive:
        present = [name.removesuffix(".npy") for name in archive.namelist()]
        name = next((name for name in (f"{split}_images", "images") if name in present), None)
        if name is None:
            raise RequestError(f"{path} has no array {split}_images or images; it has {', '.join(present)}.")
        named = [name, *(["classes"] if "classes" in present else [])]
        check_members(path, archive, named)
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in named}
    images = found[name]
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or not len(images):
        raise wrong(
            path, f"{name} is {images.dtype} {images.shape}; expected uint8 (n, H, W), (n, H, W, C) or (n, D, H, W)"
        )
    classes = tuple(map(str, np.atleast_1d(found["classes"]))) if "classes" in found else None
    return Unlabeled(str(path), _images(images), classes=classes)


def _images(array: npt.NDArray[np.uint8]) -> Images:
    return Images(array, np.arange(len(array)), channels(array))
