"""A user's folder of PNG and JPEG files as a dataset."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from stat import S_ISREG
from typing import Annotated, Final, Literal

import numpy as np
import PIL
from pydantic import Field

from fedbench_core.api.datasets import SPLITS, DataRequest, Splits
from fedbench_core.api.errors import DataError, RequestError
from fedbench_core.api.seeds import stream
from fedbench_core.data import labels_csv, layout
from fedbench_core.data.cache import contents, mapped
from fedbench_core.data.labels_csv import Row, Table
from fedbench_core.data.npy import images_header, npy
from fedbench_core.data.pictures import SUFFIXES, Fit, has_color, read_picture

VERSION: Final = 1
DEFAULT_SIZE: Final = 28
MOST_PIXELS: Final = 4096
NAMED: Final = 3

Fraction = Annotated[float, Field(gt=0, lt=0.5)]


@dataclass(frozen=True)
class Folder:
    """Your own images, from a folder of PNG and JPEG files with one CSV file.

    The CSV file has a row per image, with the columns `file`, its path in the folder; `label`, a name or a number;
    optionally `split`: train, val or test; and optionally `site`, a hospital or scanner. Without splits, images are
    drawn at random, with labels and sites in proportion: where patients have several images, give splits that keep a
    patient's images together. Images are resized to `--image-size`, 28 pixels by default.
    """

    path: Annotated[str, Field(min_length=1, description="the folder")]
    kind: Annotated[
        Literal["binary", "multi-class", "ordinal"] | None,
        Field(
            description="kind of task; none: binary with two labels, else multi-class; ordinal: labels in their order"
        ),
    ] = None
    channels: Annotated[
        Literal["gray", "color"] | None, Field(description="none: gray if all files are gray, else color")
    ] = None
    fit: Annotated[
        Fit, Field(description="how images become square: black borders, longer sides cut off, or other proportions")
    ] = "pad"
    val: Annotated[Fraction, Field(description="fraction of validation images, if the CSV file has no splits")] = 0.1
    test: Annotated[Fraction, Field(description="fraction of test images, if the CSV file has no splits")] = 0.2
    seed: Annotated[int, Field(ge=0, description="seed of the draw, if the CSV file has no splits")] = 0

    def load(self, request: DataRequest) -> Splits:
        """The splits, never official; DataError says what is wrong with which row or file."""
        folder = request.base / Path(self.path).expanduser()
        if not folder.is_dir():
            raise DataError(f"There is no folder {folder.absolute()}. Pass the path of a folder: folder:PATH.")
        table = self._with_splits(labels_csv.read(labels_csv.find(folder)))
        _say_left_out(folder, table.rows, request)
        size = request.image_size or DEFAULT_SIZE
        if size > MOST_PIXELS:
            raise RequestError(f"--image-size {size}: images of a folder are resized to at most {MOST_PIXELS} pixels.")
        cache = request.cache / f"folder-{self._key(folder, table.rows, size)}"
        arrays = mapped(cache, lambda: self._fill(folder, table, size, request))
        task = layout.task(table.path, arrays, self.kind, list(classes(table.rows)))
        splits = layout.splits(f"folder:{folder.resolve().name}", table.path, arrays, task, contents(cache))
        return replace(splits, files={split: arrays[f"{split}_files"] for split in SPLITS})

    def _with_splits(self, table: Table) -> Table:
        """The table, with splits drawn if it has none."""
        if "split" in table.has:
            return table
        drawn = replace(table, rows=tuple(_drawn(table.rows, self.val, self.test, self.seed)))
        labels_csv.refuse(table.path, list(labels_csv.split_problems(drawn.rows)))
        return drawn

    def _key(self, folder: Path, rows: Sequence[Row], size: int) -> str:
        """A name for the arrays: it changes with any option, any row, and the size or time of any file."""
        stamps = _stamps(folder, rows)
        made_by = [VERSION, PIL.__version__, size, asdict(self), str(folder.resolve())]
        key = json.dumps([*made_by, [asdict(row) for row in rows], stamps])
        return hashlib.sha256(key.encode()).hexdigest()[:32]

    def _fill(
        self, folder: Path, table: Table, size: int, request: DataRequest
    ) -> Iterator[tuple[str, Iterable[bytes]]]:
        request.say(f"Reading {len(table.rows)} images of {folder}, resized to {size} pixels")
        color = self._color(folder, table.rows)
        numbers = {label: number for number, label in enumerate(classes(table.rows))}
        problems: list[str] = []
        for split in SPLITS:
            rows = [row for row in table.rows if row.split == split]
            yield f"{split}_images", self._images(folder, rows, size, color, problems)
            yield f"{split}_labels", [npy(np.array([[numbers[row.label]] for row in rows]))]
            yield f"{split}_files", [npy(np.array([row.file for row in rows]))]
            if "site" in table.has:
                yield f"{split}_sites", [npy(np.array([row.site for row in rows]))]
        labels_csv.refuse(folder, problems)

    def _color(self, folder: Path, rows: Sequence[Row]) -> bool:
        """Whether images are read in color; DataError names the files that are no images."""
        problems, colors = [], set()
        for row in rows:
            try:
                colors.add(has_color(folder / row.file))
            except DataError as error:
                problems.append(f"row {row.number}: {error}")
        labels_csv.refuse(folder, problems)
        return True in colors if self.channels is None else self.channels == "color"

    def _images(
        self, folder: Path, rows: Sequence[Row], size: int, color: bool, problems: list[str]
    ) -> Iterator[bytes]:
        """The bytes of an .npy file. What can't be read is added to `problems`, so that all of it is found at once."""
        shape = (size, size, 3) if color else (size, size)
        yield images_header(len(rows), *shape)
        for row in rows:
            try:
                yield read_picture(folder / row.file, size, color=color, fit=self.fit).tobytes()
            except DataError as error:
                problems.append(f"row {row.number}: {error}")
                yield bytes(int(np.prod(shape)))


def classes(rows: Iterable[Row]) -> tuple[str, ...]:
    """The names of the labels: in numerical order if all of them are numbers, else in alphabetical order."""
    labels = {row.label for row in rows}
    numeric = all(label.removeprefix("-").isdecimal() for label in labels)
    return tuple(sorted(labels, key=int) if numeric else sorted(labels))


def _stamps(folder: Path, rows: Sequence[Row]) -> list[tuple[int, int]]:
    """The size and time of each file; DataError for those that don't exist."""
    stamps, problems = [], []
    for row in rows:
        try:
            status = (folder / row.file).stat()
        except (OSError, ValueError) as error:
            problems.append(f"row {row.number}: no file {row.file} ({getattr(error, 'strerror', None) or error})")
            continue
        stamps.append((status.st_size, status.st_mtime_ns))
        if not S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            problems.append(f"row {row.number}: {row.file} is no file")
    labels_csv.refuse(folder, problems)
    return stamps


def _say_left_out(folder: Path, rows: Sequence[Row], request: DataRequest) -> None:
    """Name the images that no row names."""
    known = {(folder / row.file) for row in rows}
    images = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    left_out = sorted(str(path.relative_to(folder)) for path in images if path not in known)
    if left_out:
        named = ", ".join(islice(left_out, NAMED)) + (", ..." if len(left_out) > NAMED else "")
        request.say(f"{len(left_out)} images of {folder} have no row in the CSV file and are left out: {named}")


def _drawn(rows: Sequence[Row], val: float, test: float, seed: int) -> Iterator[Row]:
    """The rows with splits. In the order of label and site, at random within these, test rows are evenly spaced."""
    shuffled = stream(seed, "folder").permutation(len(rows)).tolist()
    order = sorted(shuffled, key=lambda at: (rows[at].label, rows[at].site))
    tested = set(_spaced(order, test))
    rest = [at for at in order if at not in tested]
    validated = set(_spaced(rest, val / (1 - test)))
    for at, row in enumerate(rows):
        yield replace(row, split="test" if at in tested else "val" if at in validated else "train")


def _spaced(order: Sequence[int], fraction: float) -> list[int]:
    """Evenly spaced items of `order`: of any run of items, `fraction` of them to within one."""
    return [item for at, item in enumerate(order) if int((at + 1) * fraction) > int(at * fraction)]
