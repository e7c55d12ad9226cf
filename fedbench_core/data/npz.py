"""A file of one's own as a dataset."""

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
    """Images of one's own, from an npz file in MedMNIST's layout.

    The file holds, for each of train, val and test: `train_images`, uint8 (n, H, W), (n, H, W, C) or (n, D, H, W);
    `train_labels`, integers (n,) or (n, 1), or (n, L) of 0 and 1; and where it has them `train_sites`, an integer or a
    string for each image. `classes` may hold the names of the classes.
    """

    path: Annotated[str, Field(min_length=1, description="the npz file")]
    kind: Annotated[Kind | None, Field(description="what the labels are; none: what they look like")] = None

    def load(self, request: DataRequest) -> Splits:
        """The splits of the file, never official; DataError says what is wrong with it."""
        path = request.base / Path(self.path).expanduser()
        if not path.is_file():
            raise DataError(f"No file {path.absolute()}. Give the path of an npz file: npz:PATH.")
        digest = md5(path, request.cache)
        arrays = layout.read(path, digest, request)
        task = layout.task(path, arrays, self.kind, _class_names(path, arrays))
        splits = layout.splits(f"npz:{path.stem}", path, arrays, task, digest)
        if request.image_size not in (None, splits.image_size):
            raise RequestError(
                f"{path} holds images of {splits.image_size} pixels, not {request.image_size}. Leave --image-size out: "
                "a file of one's own comes in the size it has."
            )
        return splits


def _class_names(path: Path, arrays: Arrays) -> list[str] | None:
    if "classes" not in arrays:
        return None
    names = arrays["classes"]
    if names.dtype.kind != "U" or names.ndim != 1 or len(set(names.tolist())) != len(names):
        raise layout.wrong(path, f"classes is {names.dtype} {names.shape}; expected a list of different names")
    return [str(name) for name in names]
