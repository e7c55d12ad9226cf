"""MedMNIST's npz layout: {train,val,test}_{images,labels}, and optionally {train,val,test}_sites and classes."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import numpy.typing as npt

from fedbench_core.api.datasets import SPLITS, DataRequest, Splits
from fedbench_core.api.errors import DataError, FedbenchError
from fedbench_core.api.examples import Examples
from fedbench_core.api.task import Kind, Task
from fedbench_core.data.cache import Arrays, mapped
from fedbench_core.data.headers import check_members

NEEDED = tuple(f"{split}_{part}" for split in SPLITS for part in ("images", "labels"))
OPTIONAL = (*(f"{split}_sites" for split in SPLITS), "classes")
COLORS = (1, 3, 4)
CHUNK_BYTES = 2**20
MOST_OUTPUTS = 10_000


def read(path: Path, digest: str, request: DataRequest) -> Arrays:
    """The arrays of the npz file `path` with MD5 `digest`, memory-mapped; DataError describes what is wrong with it."""
    folder = request.cache / digest

    def fill() -> Iterator[tuple[str, Iterable[bytes]]]:
        request.say(f"Unpacking {path.name} into {folder}")
        return _members(path)

    with reading(path):
        arrays = mapped(folder, fill)
    for split in SPLITS:
        _check_split(path, arrays, split)
    return arrays


def wrong(path: Path, what: str) -> DataError:
    """The error for a file with invalid contents."""
    return DataError(f"{path}: {what}")


def channels(images: npt.NDArray[np.uint8]) -> str:
    """The position of the channels in `images`: "none" (n, H, W), "last" (n, H, W, C) or "first" (n, D, H, W)."""
    if images.ndim == 3:  # noqa: PLR2004 - (n, H, W)
        return "none"
    square = images.shape[1] == images.shape[2]
    return "last" if square and images.shape[3] in COLORS else "first"


def check_outputs(path: Path, count: int, what: str) -> None:
    """DataError for more classes or labels than `MOST_OUTPUTS`: a network has an output for each."""
    if count > MOST_OUTPUTS:
        raise wrong(path, f"has {count} {what}; at most {MOST_OUTPUTS} are possible")


def task(path: Path, arrays: Arrays, kind: Kind | None = None, names: Sequence[str] | None = None) -> Task:
    """The task, inferred from the labels unless `kind` or `names` are given; DataError if those contradict the labels.

    One column with two classes is binary, with more multi-class; several columns of 0 and 1 are multi-label.
    """
    columns = _columns(arrays["train_labels"])
    check_outputs(path, columns, "labels per image")
    found = np.unique(np.concatenate([np.unique(arrays[f"{split}_labels"]) for split in SPLITS]))
    if columns > 1:
        return _multi_label(path, columns, found, kind, names)
    count = len(found) if names is None else len(names)
    check_outputs(path, count, "classes")
    _check_range(path, found, count, named=names is not None)
    if count < 2:  # noqa: PLR2004 - a classification needs two classes
        raise wrong(path, f"all images have the label {found[0]}; expected at least two classes")
    kind = kind or ("binary" if count == 2 else "multi-class")  # noqa: PLR2004 - as above
    if kind == "multi-label" or (kind == "binary" and count > 2):  # noqa: PLR2004 - as above
        raise wrong(path, f"one label per image out of {count} classes; that is not a {kind} task")
    return Task(kind, tuple(names) if names is not None else tuple(str(label) for label in range(count)))


def splits(name: str, path: Path, arrays: Arrays, task: Task, digest: str, *, official: bool = False) -> Splits:
    """The arrays as splits, with sites if the file has them."""
    train, val, test = (_examples(arrays, split) for split in SPLITS)
    return Splits(name, task, train, val, test, digest, official, *_sites(path, arrays))


def _examples(arrays: Arrays, split: str) -> Examples:
    images = arrays[f"{split}_images"]
    labels = np.asarray(arrays[f"{split}_labels"], np.int64).reshape(len(images), -1)
    return Examples(images, labels, np.arange(len(images)), channels(images))


def _sites(path: Path, arrays: Arrays) -> tuple[dict[str, npt.NDArray[np.int64]], tuple[str, ...]]:
    """Site numbers by split, and the names of the sites."""
    present = [split for split in SPLITS if f"{split}_sites" in arrays]
    if not present:
        return {}, ()
    if len(present) < len(SPLITS):
        missing = ", ".join(f"{split}_sites" for split in SPLITS if split not in present)
        raise wrong(path, f"has sites for {', '.join(present)} only; expected {missing} as well")
    values = {split: np.asarray(arrays[f"{split}_sites"]) for split in SPLITS}
    for split, names in values.items():
        images = len(arrays[f"{split}_images"])
        if names.dtype.kind not in "iuU" or names.shape != (images,):
            raise wrong(
                path,
                f"{split}_sites is {names.dtype} {names.shape}; expected an integer or a string for each of the "
                f"{images} images",
            )
    if len({names.dtype.kind == "U" for names in values.values()}) > 1:
        raise wrong(path, "sites are strings in one split and integers in another; expected one of the two")
    distinct = np.unique(np.concatenate(list(values.values())))
    numbers = {split: np.searchsorted(distinct, names).astype(np.int64) for split, names in values.items()}
    return numbers, tuple(map(str, distinct))


def _check_split(path: Path, arrays: Arrays, split: str) -> None:
    images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
    if images.dtype != np.uint8:
        raise wrong(path, f"{split}_images is {images.dtype}; expected uint8")
    if images.ndim not in (3, 4):
        raise wrong(path, f"{split}_images is {images.shape}; expected (n, H, W), (n, H, W, C) or (n, D, H, W)")
    if labels.dtype.kind not in "iu":
        raise wrong(path, f"{split}_labels is {labels.dtype}; expected integers")
    if labels.ndim not in (1, 2) or 0 in labels.shape[1:]:
        raise wrong(path, f"{split}_labels is {labels.shape}; expected (n,), (n, 1) or (n, labels)")
    if len(images) != len(labels):
        raise wrong(path, f"{len(images)} {split}_images but {len(labels)} {split}_labels; expected equal numbers")
    if len(images) == 0:
        raise wrong(path, f"{split}_images is empty; expected at least one image in each split")
    height, width = images.shape[2:4] if channels(images) == "first" else images.shape[1:3]
    if height != width or 0 in images.shape:
        raise wrong(path, f"{split}_images is {images.shape}: {height} x {width} pixels; expected square images")
    if images.shape[1:] != arrays["train_images"].shape[1:]:
        train = arrays["train_images"].shape[1:]
        raise wrong(path, f"{split}_images are {images.shape[1:]} but train_images {train}; expected one shape")
    if _columns(labels) != _columns(arrays["train_labels"]):
        in_train = _columns(arrays["train_labels"])
        raise wrong(path, f"{_columns(labels)} labels per image in {split} but {in_train} in train; expected the same")


def _columns(labels: npt.NDArray[np.integer]) -> int:
    return int(np.prod(labels.shape[1:]))


def _check_range(path: Path, found: npt.NDArray[np.integer], count: int, *, named: bool) -> None:
    outside = [int(label) for label in found if not 0 <= label < count]
    if not outside:
        return
    classes = f"its {count} classes" if named else f"the {count} values found (add `classes` if some have no images)"
    raise wrong(path, f"label {outside[0]} is out of range; expected 0..{count - 1} for {classes}")


def _multi_label(
    path: Path, columns: int, found: npt.NDArray[np.integer], kind: Kind | None, names: Sequence[str] | None
) -> Task:
    if kind not in (None, "multi-label"):
        raise wrong(path, f"{columns} labels per image; that is not a {kind} task, which has one")
    if names is not None and len(names) != columns:
        raise wrong(path, f"{columns} labels per image but {len(names)} class names; expected equal numbers")
    outside = [int(label) for label in found if label not in (0, 1)]
    if outside:
        raise wrong(path, f"label {outside[0]} among {columns} per image; expected 0 and 1")
    return Task("multi-label", tuple(names) if names is not None else tuple(str(label) for label in range(columns)))


def _members(path: Path) -> Iterator[tuple[str, Iterable[bytes]]]:
    # A member of an npz is an .npy file. Copying it in chunks verifies its checksum and needs little memory.
    with reading(path), ZipFile(path) as archive:
        present = {name.removesuffix(".npy") for name in archive.namelist()}
        missing = [name for name in NEEDED if name not in present]
        if missing:
            raise wrong(path, f"has no {', '.join(missing)}; expected MedMNIST's layout: {', '.join(NEEDED)}")
        names = (*NEEDED, *(name for name in OPTIONAL if name in present))
        check_members(path, archive, names)
        for name in names:
            yield name, _chunks(path, archive, name)


def _chunks(path: Path, archive: ZipFile, name: str) -> Iterator[bytes]:
    with reading(path), archive.open(f"{name}.npy") as member:
        while chunk := member.read(CHUNK_BYTES):
            yield chunk


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn any exception from reading a damaged zip or .npy file into a DataError that names the file."""
    try:
        yield
    except FedbenchError:
        raise
    except Exception as error:  # decompressors raise errors of a dozen types, among them LZMAError
        raise wrong(path, f"damaged, or not an npz file of plain arrays ({error}). Download it again.") from error
