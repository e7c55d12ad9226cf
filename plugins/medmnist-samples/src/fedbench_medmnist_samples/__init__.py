"""Samples of MedMNIST's images that need no download. They are not MedMNIST's benchmark datasets."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from fedbench_core.api import SPLITS, DataError, DataRequest, Dataset, Examples, RequestError, Splits, Task, hookimpl

api_version = 2

FILES: Final = Path(__file__).parent / "files"
MD5: Final = {"tissue": "379a80f216fed72030c14f9a1f2337c9", "pneumonia": "cbec314cfe1725b1f163d501c01f925d"}
PIXELS: Final = 28
TISSUE: Final = Task(
    "multi-class",
    (
        "Collecting Duct, Connecting Tubule",
        "Distal Convoluted Tubule",
        "Glomerular endothelial cells",
        "Interstitial endothelial cells",
        "Leukocytes",
        "Podocytes",
        "Proximal Tubule Segments",
        "Thick Ascending Limb",
    ),
)
PNEUMONIA: Final = Task("binary", ("normal", "pneumonia"))


@dataclass(frozen=True)
class TissueSample(Dataset):
    """9,000 images of kidney cortex cells in 8 classes, a sample of TissueMNIST's: not the official benchmark."""

    def load(self, request: DataRequest) -> Splits:
        """6,000 training, 1,000 validation and 2,000 test images, gray, 28 x 28 pixels."""
        return _sample("tissue", TISSUE, request)


@dataclass(frozen=True)
class PneumoniaSample(Dataset):
    """2,100 chest X-rays in 2 classes, a sample of PneumoniaMNIST's: not the official benchmark."""

    def load(self, request: DataRequest) -> Splits:
        """1,200 training, 300 validation and 600 test images, gray, 28 x 28 pixels."""
        return _sample("pneumonia", PNEUMONIA, request)


@hookimpl
def fedbench_register_datasets() -> Mapping[str, type[Dataset]]:
    """Both samples."""
    return {"tissue-sample": TissueSample, "pneumonia-sample": PneumoniaSample}


def _sample(name: str, task: Task, request: DataRequest) -> Splits:
    """DataError if the file was altered; RequestError for another image size."""
    path = FILES / f"{name}.npz"
    if request.image_size not in (None, PIXELS):
        raise RequestError(
            f"{name}-sample has images of {PIXELS} pixels, not {request.image_size}. Leave out --image-size."
        )
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if digest != MD5[name]:
        raise DataError(
            f"{path} has the MD5 {digest}; expected {MD5[name]}. Install the package again: "
            "pip install --force-reinstall --no-deps fedbench-medmnist-samples."
        )
    with np.load(path) as arrays:
        train, val, test = (_examples(arrays[f"{split}_images"], arrays[f"{split}_labels"]) for split in SPLITS)
    return Splits(f"{name}-sample (unofficial)", task, train, val, test, digest, official=False)


def _examples(images: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8]) -> Examples:
    return Examples(images, labels.astype(np.int64), np.arange(len(images)), "none")
