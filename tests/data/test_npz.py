"""npz files: what is read from them, and every kind of invalid file."""

import hashlib
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedbench_core.api import DataError, DataRequest, RequestError
from fedbench_core.data.datasets import DATASETS

REAL = Path(__file__).parents[3] / "shared" / "data" / "npz"


def load(path, request, **options):
    return DATASETS["npz"](path=str(path), **options).load(request)


def test_splits_are_those_of_the_file(write, request_):
    path = write()
    splits = load(path, request_)
    with np.load(path) as written:
        for split in ("train", "val", "test"):
            assert (getattr(splits, split).images == written[f"{split}_images"]).all()
            assert (getattr(splits, split).labels == written[f"{split}_labels"]).all()
            assert (getattr(splits, split).indices == np.arange(len(written[f"{split}_images"]))).all()
    assert splits.train.labels.dtype == np.int64
    assert splits.digest == hashlib.md5(path.read_bytes()).hexdigest()  # noqa: S324 - MedMNIST's own digest
    assert (splits.name, splits.official, splits.sites) == ("npz:own", False, {})
    assert (splits.channels, splits.image_size) == (1, 8)


def test_images_are_mapped_read_only(write, request_):
    images = load(write(), request_).train.images
    assert isinstance(images, np.memmap)
    assert not images.flags.writeable


def test_second_load_reads_the_cache(write, request_):
    lines = []
    request = DataRequest(cache=request_.cache, say=lines.append)
    path = write()
    first, second = load(path, request), load(path, request)
    assert len(lines) == 1
    assert (first.train.images == second.train.images).all()


@pytest.mark.parametrize(
    ("pixels", "channels", "shape"),
    [
        ((8, 8), 1, (20, 1, 8, 8)),
        ((8, 8, 3), 3, (20, 3, 8, 8)),
        ((5, 8, 8), 5, (20, 5, 8, 8)),
        ((8, 8, 8), 8, (20, 8, 8, 8)),
    ],
)
def test_channels_are_found_for_gray_color_and_volume_images(write, request_, pixels, channels, shape):
    splits = load(write(pixels=pixels), request_)
    assert splits.channels == channels
    assert splits.image_size == 8
    assert tuple(splits.train.tensors()[0].shape) == shape


def test_depth_of_a_volume_becomes_channels_in_order(write, request_):
    splits = load(write(pixels=(5, 8, 8)), request_)
    voxel = splits.train.tensors()[0][3, 4, 2, 1]
    assert voxel == pytest.approx(splits.train.images[3, 4, 2, 1] / 127.5 - 1)


def labelled(**labels):
    return {f"{split}_labels": np.asarray(values) for split, values in labels.items()}


@pytest.mark.parametrize(
    ("train", "kind", "classes"),
    [
        (np.arange(20) % 2, "binary", 2),
        ((np.arange(20) % 2)[:, None], "binary", 2),
        (np.arange(20) % 5, "multi-class", 5),
        (np.arange(60).reshape(20, 3) % 2, "multi-label", 3),
    ],
)
def test_task_is_inferred_from_the_labels(write, request_, train, kind, classes):
    splits = load(write(changes=labelled(train=train, val=train[:6], test=train[:8])), request_)
    assert splits.task.kind == kind
    assert splits.task.classes == tuple(str(number) for number in range(classes))


def test_kind_of_task_can_be_given(write, request_):
    assert load(write(), request_, kind="ordinal").task.kind == "ordinal"


def test_named_classes_may_have_no_images(write, request_):
    splits = load(write(changes={"classes": np.array(["a", "b", "c", "d"])}), request_)
    assert splits.task.classes == ("a", "b", "c", "d")


def test_a_class_may_be_absent_from_train(write, request_):
    splits = load(write(changes=labelled(train=np.arange(20) % 2)), request_)
    assert splits.task.outputs == 3


@pytest.mark.parametrize(
    ("given_", "numbers"),
    [(np.array(["b", "a"]), [1, 0]), (np.array([70, 7]), [1, 0]), (np.array([-1, 3], np.int8), [0, 1])],
)
def test_sites_are_numbered_alike_in_all_splits(write, request_, given_, numbers):
    sites = {
        "train_sites": np.resize(given_, 20),
        "val_sites": np.resize(given_[:1], 6),
        "test_sites": np.resize(given_[1:], 8),
    }
    splits = load(write(changes=sites), request_)
    assert splits.sites["train"].tolist() == numbers * 10
    assert splits.sites["val"].tolist() == numbers[:1] * 6
    assert splits.sites["test"].tolist() == numbers[1:] * 8


LONG = np.zeros(20, np.int64)
WRONG = {
    "a key is missing": ({"val_labels": None}, "has no val_labels; expected MedMNIST's layout: train_images"),
    "images are floats": ({"train_images": np.zeros((20, 8, 8))}, "train_images is float64; expected uint8"),
    "images are flat": ({"train_images": np.zeros((20, 64), np.uint8)}, r"train_images is \(20, 64\); expected"),
    "labels are floats": (labelled(test=np.zeros(8)), "test_labels is float64; expected integers"),
    "labels are strings": (labelled(test=np.array(["a"] * 8)), "test_labels is <U1; expected integers"),
    "labels are cubes": (labelled(test=np.zeros((8, 1, 1), int)), r"test_labels is \(8, 1, 1\); expected"),
    "labels have no column": (labelled(test=np.zeros((8, 0), int)), r"test_labels is \(8, 0\); expected"),
    "lengths differ": (labelled(train=np.zeros(19, int)), "20 train_images but 19 train_labels"),
    "a label is negative": (labelled(train=[-1, *LONG[1:]]), "label -1 is out of range; expected 0..3"),
    "a label is too large": (labelled(train=[255, *LONG[1:]]), "label 255 is out of range; expected 0..3"),
    "a label has no name": ({"classes": np.array(["a", "b"])}, "label 2 is out of range; expected 0..1 for its 2"),
    "one class only": (labelled(train=LONG, val=LONG[:6], test=LONG[:8]), "all images have the label 0"),
    "images are oblong": ({"test_images": np.zeros((8, 8, 9), np.uint8)}, "8 x 9 pixels; expected square"),
    "splits differ in size": (
        {"test_images": np.zeros((8, 9, 9), np.uint8)},
        r"test_images are \(9, 9\) but train_images \(8, 8\)",
    ),
    "splits differ in labels": (labelled(val=np.zeros((6, 2), int)), "2 labels per image in val but 1 in train"),
    "a split is empty": (
        {"val_images": np.zeros((0, 8, 8), np.uint8), **labelled(val=np.zeros((0, 1), int))},
        "val_images is empty",
    ),
    "a multi-label is 2": (
        labelled(train=np.full((20, 2), 2), val=np.ones((6, 2), int), test=np.ones((8, 2), int)),
        "label 2 among 2 per image; expected 0 and 1",
    ),
    "sites for one split": ({"train_sites": LONG}, "expected val_sites, test_sites as well"),
    "sites are floats": (
        {"train_sites": LONG * 1.0, "val_sites": LONG[:6], "test_sites": LONG[:8]},
        "train_sites is float64",
    ),
    "sites are too few": (
        {"train_sites": LONG, "val_sites": LONG[:6], "test_sites": LONG[:7]},
        r"test_sites .* \(7,\)",
    ),
    "sites are of two sorts": (
        {"train_sites": LONG, "val_sites": LONG[:6], "test_sites": np.array(["a"] * 8)},
        "strings in one split and integers in another",
    ),
    "classes are numbers": ({"classes": np.arange(3)}, "classes is int64"),
    "classes repeat": ({"classes": np.array(["a", "a", "b"])}, "expected a list of distinct names"),
}


@pytest.mark.parametrize(("changes", "words"), WRONG.values(), ids=WRONG)
def test_invalid_file_is_refused_with_its_path_and_reason(write, request_, changes, words):
    path = write(changes=changes)
    with pytest.raises(DataError, match=words) as error:
        load(path, request_)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(("kind", "classes"), [("binary", 3), ("multi-label", 3)])
def test_kind_that_contradicts_the_labels_is_refused(write, request_, kind, classes):
    with pytest.raises(DataError, match=f"{classes} classes.*{kind}"):
        load(write(classes=classes), request_, kind=kind)


def test_several_labels_per_image_are_multi_label_only(write, request_):
    ones = labelled(train=np.ones((20, 2), int), val=np.ones((6, 2), int), test=np.ones((8, 2), int))
    with pytest.raises(DataError, match=r"2 labels per image.*multi-class"):
        load(write(changes=ones), request_, kind="multi-class")
    with pytest.raises(DataError, match="2 labels per image but 3 class names"):
        load(write(changes={**ones, "classes": np.array(["a", "b", "c"])}), request_)


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize("key", ["train_images", "test_labels", "val_sites", "classes"])
def test_pickled_objects_are_refused_and_never_unpickled(write, request_, tmp_path, key):
    mark = tmp_path / "unpickled"
    path = write(changes={key: np.array([Bomb(mark)], dtype=object)})
    with pytest.raises(DataError, match="Python objects"):
        load(path, request_)
    assert not mark.exists()
    with np.load(path, allow_pickle=True) as unguarded:
        assert unguarded[key].shape == (1,)
    assert mark.exists()


def test_missing_file_is_a_data_error(request_, tmp_path):
    with pytest.raises(DataError, match=f"{tmp_path}/none.npz"):
        load(tmp_path / "none.npz", request_)


def test_another_image_size_is_refused(write, request_):
    path = write()
    assert load(path, DataRequest(cache=request_.cache, image_size=8)).image_size == 8
    with pytest.raises(RequestError, match="holds images of 8 pixels, not 64"):
        load(path, DataRequest(cache=request_.cache, image_size=64))


def test_file_that_is_not_npz_is_a_data_error(request_, tmp_path):
    path = tmp_path / "text.npz"
    path.write_text("train_images: none")
    with pytest.raises(DataError, match=r"text\.npz: damaged"):
        load(path, request_)
    with zipfile.ZipFile(path, "w") as archive:
        for split in ("train", "val", "test"):
            archive.writestr(f"{split}_images.npy", "none")
            archive.writestr(f"{split}_labels.npy", "none")
    with pytest.raises(DataError, match=r"text\.npz: damaged"):
        load(path, request_)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(part=st.floats(0, 1, exclude_max=True))
def test_truncated_file_is_refused(write, request_, part):
    path = write("torn.npz")
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    with pytest.raises(DataError, match=r"torn\.npz"):
        load(path, request_)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bits=st.integers(1, 255))
def test_altered_byte_is_refused_or_changes_no_pixel(write, request_, place, bits):
    path = write("whole.npz")
    whole = load(path, request_)
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= bits
    altered = path.with_name("altered.npz")
    altered.write_bytes(content)
    try:
        found = load(altered, request_)
    except DataError as error:
        assert "altered.npz" in str(error)  # noqa: PT017 - either is right, by which byte was hit
    else:
        assert (found.train.images == whole.train.images).all()
        assert (found.test.labels == whole.test.labels).all()


@pytest.mark.skipif(not REAL.is_dir(), reason="the real images beside the checkout are not there")
def test_real_files_are_read(tmp_path):
    request = DataRequest(cache=tmp_path)
    tissue = load(REAL / "tissue_sample.npz", request)
    assert [len(tissue.train), len(tissue.val), len(tissue.test)] == [24000, 3000, 6000]
    assert (tissue.task.kind, tissue.task.outputs, tissue.official) == ("multi-class", 8, False)
    pneumonia = load(REAL / "pneumonia_sample.npz", request)
    assert (pneumonia.task.kind, len(pneumonia.train)) == ("binary", 4708)
