"""Small files in MedMNIST's layout."""

from pathlib import Path

import numpy as np
import pytest

from fedbench_core.api import DataRequest

SIZES = {"train": 20, "val": 6, "test": 8}


def arrays(classes=3, pixels=(8, 8)):
    """Three splits whose labels cycle through all classes; no two images are equal."""
    content = {}
    for split, count in SIZES.items():
        numbers = np.arange(count * np.prod(pixels)).reshape(count, *pixels)
        content[f"{split}_images"] = (numbers * 7 % 251).astype(np.uint8)
        content[f"{split}_labels"] = (np.arange(count, dtype=np.uint8) % classes)[:, None]
    return content


@pytest.fixture
def request_(tmp_path):
    return DataRequest(cache=tmp_path / "cache", root=tmp_path / "root")


@pytest.fixture
def write(tmp_path):
    def write(name="own.npz", changes=None, **options) -> Path:
        path = tmp_path / "root" / name
        path.parent.mkdir(exist_ok=True)
        content = {**arrays(**options), **(changes or {})}
        np.savez_compressed(path, **{key: value for key, value in content.items() if value is not None})
        return path

    return write
