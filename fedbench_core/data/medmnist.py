"""The 18 datasets of MedMNIST (Yang et al., MedMNIST v2, Scientific Data 10, 41, 2023), from their official files."""

import os
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from runpy import run_path
from typing import Any, Final

from fedbench_core.api.datasets import DataRequest, Splits
from fedbench_core.api.errors import DataError, RequestError
from fedbench_core.api.task import Kind
from fedbench_core.data import layout
from fedbench_core.data.cache import Arrays, md5
from fedbench_core.data.download import download

NAMES: Final = (
    "pathmnist",
    "chestmnist",
    "dermamnist",
    "octmnist",
    "pneumoniamnist",
    "retinamnist",
    "breastmnist",
    "bloodmnist",
    "tissuemnist",
    "organamnist",
    "organcmnist",
    "organsmnist",
    "organmnist3d",
    "nodulemnist3d",
    "adrenalmnist3d",
    "fracturemnist3d",
    "vesselmnist3d",
    "synapsemnist3d",
)
DEFAULT_SIZE = 28
BUNDLED: Final = Path(__file__).parent / "files"
"""Published files that come with this package, with their license."""
KINDS: Final[dict[str, Kind]] = {
    "multi-class": "multi-class",
    "binary-class": "binary",
    "ordinal-regression": "ordinal",
    "multi-label, binary-class": "multi-label",
}


@cache
def info() -> dict[str, dict[str, Any]]:
    """MedMNIST's table: for each dataset the URL and MD5 of each image size, its task, labels and channels."""
    # `import medmnist` takes about 1.5 s for torchvision, scikit-image and pandas; the module with the table needs none
    # of them.
    package = find_spec("medmnist")
    folders = package.submodule_search_locations if package else None
    if not folders:
        raise DataError("The package medmnist is not installed. Install it: pip install medmnist.")
    table: dict[str, dict[str, Any]] = run_path(str(Path(folders[0]) / "info.py"))["INFO"]
    return table


@dataclass(frozen=True)
class MedMNIST:
    """One set of MedMNIST, at any of its sizes."""

    name: str

    def load(self, request: DataRequest) -> Splits:
        """The official splits. A file that is in neither the folder of files nor this package is downloaded.

        RequestError for a size that the set does not come in; DataError for a file that cannot be had or is not the
        published one, unless the request allows that.
        """
        facts = info()[self.name]
        size = _size(self.name, facts, request.image_size)
        suffix = "" if size == DEFAULT_SIZE else f"_{size}"
        path = _path(request, f"{self.name}{suffix}.npz")
        if not path.is_file():
            request.say(f"{path} is not there; downloading it from {facts[f'url{suffix}']}")
            download(facts[f"url{suffix}"], path, facts[f"MD5{suffix}"])
        digest, published = md5(path, request.cache), facts[f"MD5{suffix}"]
        if digest != published and not request.allow_unofficial:
            raise layout.wrong(
                path,
                f"MD5 {digest} is not {self.name}'s published {published}: the file is damaged or altered. "
                f"Delete it to download it again, use it as npz:{path}, or pass --allow-unofficial.",
            )
        arrays = layout.read(path, digest, request)
        _check_images(path, arrays, self.name, facts, size)
        names = [facts["label"][key] for key in sorted(facts["label"], key=int)]
        task = layout.task(path, arrays, KINDS[facts["task"]], names)
        return layout.splits(self.name, path, arrays, task, digest, official=digest == published)


def _path(request: DataRequest, file: str) -> Path:
    own, bundled = _root(request) / file, BUNDLED / file
    return bundled if bundled.is_file() and not own.is_file() else own


def _root(request: DataRequest) -> Path:
    named = request.root or os.environ.get("FEDBENCH_DATA") or Path.home() / ".medmnist"
    return Path(named).expanduser()


def _size(name: str, facts: dict[str, Any], asked: int | None) -> int:
    sizes = [DEFAULT_SIZE, *(int(key.removeprefix("url_")) for key in facts if key.startswith("url_"))]
    if asked is None:
        return DEFAULT_SIZE
    if asked not in sizes:
        available = ", ".join(str(size) for size in sorted(sizes))
        raise RequestError(f"{name} has no images of {asked} pixels. Available: --image-size {available}.")
    return asked


def _check_images(path: Path, arrays: Arrays, name: str, facts: dict[str, Any], size: int) -> None:
    rows = arrays["train_images"].shape[1:]
    color = (facts["n_channels"],) if facts["n_channels"] > 1 else ()
    expected = (size,) * (3 if name.endswith("3d") else 2) + color
    if rows != expected:
        raise layout.wrong(path, f"its images are {rows}; expected {expected} for {name} at {size} pixels")
