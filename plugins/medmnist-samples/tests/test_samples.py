"""The samples: their sizes, their names, and how they are drawn."""

import hashlib
from pathlib import Path
from runpy import run_path

import numpy as np
import pytest

import fedbench_medmnist_samples as samples
from fedbench_core.api import DataError, DataRequest, RequestError
from fedbench_core.testing import DatasetContract

DRAW = run_path(str(Path(__file__).parents[1] / "draw.py"))
SOURCES = Path(__file__).parents[4] / "shared" / "data" / "npz"


class TestTissueSample(DatasetContract):
    name = "tissue-sample"


class TestPneumoniaSample(DatasetContract):
    name = "pneumonia-sample"


@pytest.mark.parametrize(
    ("dataset", "name", "sizes", "classes"),
    [
        (samples.TissueSample(), "tissue-sample (unofficial)", [6000, 1000, 2000], 8),
        (samples.PneumoniaSample(), "pneumonia-sample (unofficial)", [1200, 300, 600], 2),
    ],
)
def test_samples_are_unofficial_and_have_the_documented_sizes(tmp_path, dataset, name, sizes, classes):
    request = DataRequest(tmp_path)
    splits = dataset.load(request)
    assert (splits.name, splits.official, splits.task.outputs) == (name, False, classes)
    assert [len(splits.train), len(splits.val), len(splits.test)] == sizes
    with pytest.raises(RequestError, match="28 pixels, not 64"):
        dataset.load(DataRequest(tmp_path, image_size=64))


def test_altered_file_is_refused(tmp_path, monkeypatch):
    blob = bytearray((samples.FILES / "pneumonia.npz").read_bytes())
    blob[-3] ^= 1
    (tmp_path / "pneumonia.npz").write_bytes(blob)
    monkeypatch.setattr(samples, "FILES", tmp_path)
    with pytest.raises(DataError, match=f"{tmp_path}/pneumonia.npz has the MD5 .*{samples.MD5['pneumonia']}"):
        samples.PneumoniaSample().load(DataRequest(tmp_path))


@pytest.mark.parametrize("text", [samples.FILES / "LICENSE.md", Path(__file__).parents[1] / "README.md"])
def test_every_file_is_documented_with_its_md5(text):
    for path in samples.FILES.glob("*.npz"):
        digest = hashlib.md5(path.read_bytes()).hexdigest()  # noqa: S324 - the digest that MedMNIST uses
        assert samples.MD5[path.stem] == digest
        assert f"`{path.name}`" in text.read_text(encoding="utf-8")
        assert digest in text.read_text(encoding="utf-8")


@pytest.fixture
def source(tmp_path):
    """60 images per split, labels 0 to 2 in the proportion 3:2:1; 5 test images are in the other splits too."""
    rng = np.random.default_rng(0)
    arrays = {f"{split}_images": rng.integers(0, 256, (60, 4, 4), np.uint8) for split in ("train", "val", "test")}
    for split in ("train", "val"):
        arrays[f"{split}_images"][:5] = arrays["test_images"][:5]
    arrays |= {
        f"{split}_labels": np.repeat([0, 1, 2], [30, 20, 10]).astype(np.uint8)[:, None] for split in DRAW["SPLITS"]
    }
    np.savez(tmp_path / "source.npz", **arrays)
    return tmp_path / "source.npz"


def keys(images):
    return [image.tobytes() for image in images]


def test_draw_is_stratified_and_disjoint(source):
    drawn = DRAW["draw"](source, {"train": 55, "val": 55, "test": 12})
    assert np.bincount(drawn["test_labels"][:, 0]).tolist() == [6, 4, 2]
    images = [key for split in DRAW["SPLITS"] for key in keys(drawn[f"{split}_images"])]
    assert len(set(images)) == len(images) == 122
    with np.load(source) as arrays:
        labels = dict(zip(keys(arrays["train_images"]), arrays["train_labels"].tolist(), strict=True))
    assert [labels[key] for key in keys(drawn["train_images"])] == drawn["train_labels"].tolist()


def test_draw_does_not_depend_on_the_order_of_the_source(source, tmp_path):
    with np.load(source) as arrays:
        np.savez(tmp_path / "reversed.npz", **{name: array[::-1] for name, array in arrays.items()})
    sizes = {"train": 20, "val": 20, "test": 20}
    one, other = DRAW["draw"](source, sizes), DRAW["draw"](tmp_path / "reversed.npz", sizes)
    assert all((one[name] == other[name]).all() for name in one)


@pytest.mark.skipif(not SOURCES.is_dir(), reason="the source files beside the checkout are not there")
def test_samples_are_what_the_recipe_draws():
    for name, sizes in DRAW["SIZES"].items():
        source = SOURCES / f"{name}_sample.npz"
        assert hashlib.md5(source.read_bytes()).hexdigest() == DRAW["SOURCE_MD5"][name]  # noqa: S324 - as above
        drawn = DRAW["draw"](source, sizes)
        with np.load(samples.FILES / f"{name}.npz") as arrays:
            assert set(drawn) == set(arrays)
            assert all((drawn[key] == arrays[key]).all() for key in drawn)
