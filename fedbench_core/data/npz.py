"""A user's npz file as a dataset."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from fedbench_core.api.datasets import DataRequest, Splits
from fedbench_core.api.errors import DataError, RequestError
from fedbench_core.api.task import Kind
from fedbench_core.data import layout
from fedbench_core.data.cache import Arrays, md5


@dataclass(frozen=True)
class Npz:
    """Your own images, from an npz file in MedMNIST's layout.

    The file holds, for each of train, val and test: `train_images`, uint8 (n, H, W), (n, H, W, C) or (n, D, H, W);
    `train_labels`, integers (n,) or (n, 1), or (n, L) of 0 and 1; and optionally `train_sites`, an integer or a string
    for each image. Optionally, `classes` holds the names of the classes.
    """

    path: Annotated[str, Field(min_length=1, description="the npz file")]
    kind: Annotated[Kind | None, Field(description="kind of task; none: inferred from the labels")] = None

    def load(self, request: DataRequest) -> Splits:
        """The splits of the file, never official; DataError describes what is wrong with it."""
        path = request.base / Path(self.path).expanduser()
        if not path.is_file():
            raise DataError(f"There is no file {path.absolute()}. Pass the path of an npz file: npz:PATH.")
        digest = md5(path, request.cache)
        arrays = layout.read(path, digest, request)
        task = layout.task(path, arrays, self.kind, _class_names(path, arrays))
        splits = layout.splits(f"npz:{path.stem}", path, arrays, task, digest)
        if request.image_size not in (None, splits.image_size):
            raise RequestError(
                f"{path} holds images of {splits.image_size} pixels, not {request.image_size}. Leave out --image-size: "
                "images of an npz file are not resized."
            )
        return splits


def _class_names(path: Path, arrays: Arrays) -> list[str] | None:
    if "classes" not in arrays:
        return None
    names = arrays["classes"]
    layout.check_outputs(path, names.size, "class names")
    if names.dtype.kind != "U" or names.ndim != 1 or len(set(names.tolist())) != len(names):
        raise layout.wrong(path, f"classes is {names.dtype} {names.shape}; expected a list of distinct names")
    return [str(name) for name in names]
