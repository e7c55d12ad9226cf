# ruff: noqa: INP001  # a script, which is not installed
"""Draw the samples of this package: python draw.py FOLDER, which holds tissue_sample.npz and pneumonia_sample.npz.

The draw uses no random generator: of each class of a split, the images with the smallest SHA-256 are taken, so that
every machine and version draws the same images, in whichever order the source has them.
"""

import hashlib
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedbench_medmnist_samples import FILES, MD5

SPLITS = ("test", "val", "train")
SIZES = {
    "tissue": {"train": 6000, "val": 1000, "test": 2000},
    "pneumonia": {"train": 1200, "val": 300, "test": 600},
}
SOURCE_MD5 = {"tissue": "38f1752b6610cb17702f757def5bcfb0", "pneumonia": "88f817cb74189d81f6df1930098ff783"}


def draw(source: Path, sizes: dict[str, int]) -> dict[str, npt.NDArray[np.uint8]]:
    """The arrays of a sample. An image that occurs twice is taken once: for test before validation before training."""
    drawn, seen = {}, set[str]()
    with np.load(source) as arrays:
        for split in SPLITS:
            images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
            rows = _ordered(images, seen)
            kept = _stratified(rows, labels[:, 0], sizes[split])
            drawn |= {f"{split}_images": images[kept], f"{split}_labels": labels[kept]}
    return drawn


def _ordered(images: npt.NDArray[np.uint8], seen: set[str]) -> list[int]:
    """The rows of the images that are not in `seen`, by SHA-256; adds them to `seen`."""
    first = {hashlib.sha256(image.tobytes()).hexdigest(): row for row, image in reversed(list(enumerate(images)))}
    new = sorted(first.keys() - seen)
    seen.update(new)
    return [first[digest] for digest in new]


def _stratified(rows: list[int], labels: npt.NDArray[np.uint8], size: int) -> list[int]:
    """The first of the rows of each class, classes in proportion: floors, then the largest remainders."""
    counts = np.bincount(labels[rows])
    quotas, remainders = np.divmod(size * counts, len(rows))
    quotas[np.argsort(-remainders, kind="stable")[: size - quotas.sum()]] += 1
    left, kept = quotas.tolist(), []
    for row in rows:
        if left[labels[row]]:
            left[labels[row]] -= 1
            kept.append(row)
    return kept


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def main(folder: Path) -> None:
    """Write the samples into the package; ends with an error if a source is another file than the documented one."""
    for name, sizes in SIZES.items():
        source = folder / f"{name}_sample.npz"
        if _md5(source) != SOURCE_MD5[name]:
            sys.exit(f"{source} has the MD5 {_md5(source)}; expected {SOURCE_MD5[name]}")
        arrays = draw(source, sizes)
        np.savez_compressed(FILES / f"{name}.npz", allow_pickle=False, **arrays)
        contents = hashlib.sha256(b"".join(arrays[key].tobytes() for key in sorted(arrays))).hexdigest()
        print(f"{name}: MD5 {_md5(FILES / f'{name}.npz')} ({MD5[name]} in the package); SHA-256 of arrays {contents}")  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]))
