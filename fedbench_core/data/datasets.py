"""The datasets of the core by name."""

from collections.abc import Callable, Mapping

from fedbench_core.api.datasets import Dataset
from fedbench_core.data.folder import Folder
from fedbench_core.data.medmnist import NAMES, MedMNIST
from fedbench_core.data.npz import Npz
from fedbench_core.data.phantom import Phantom


def _medmnist(name: str) -> Callable[[], Dataset]:
    def factory() -> Dataset:
        return MedMNIST(name)

    factory.__doc__ = f"MedMNIST's {name}: the official splits, checked against the published MD5."
    return factory


DATASETS: Mapping[str, Callable[..., Dataset]] = {
    **{name: _medmnist(name) for name in NAMES},
    "folder": Folder,
    "npz": Npz,
    "phantom": Phantom,
}
