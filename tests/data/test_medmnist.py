"""MedMNIST datasets: lookup, download, checks and names, with local files and a local web server."""

import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from fedbench_core.api import DataError, DataRequest, RequestError
from fedbench_core.data import medmnist
from fedbench_core.data.datasets import DATASETS

VOLUMES = {"organmnist3d", "nodulemnist3d", "adrenalmnist3d", "fracturemnist3d", "vesselmnist3d", "synapsemnist3d"}


def digest(path):
    return hashlib.md5(path.read_bytes()).hexdigest()  # noqa: S324 - MedMNIST's own digest


@pytest.fixture
def publish(monkeypatch):
    """Make `path` the published file of a dataset, at `url`."""

    def publish(name, path, url="http://127.0.0.1:9/none.npz", suffix=""):
        facts = {**medmnist.info()[name], f"MD5{suffix}": digest(path), f"url{suffix}": url}
        monkeypatch.setattr(medmnist, "info", lambda: {name: facts})

    return publish


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """The address of a web server over the folder `web`."""
    monkeypatch.setenv("no_proxy", "*")
    (tmp_path / "web").mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path / "web")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def load(name, request):
    return DATASETS[name]().load(request)


def test_names_are_those_of_medmnist():
    assert set(medmnist.NAMES) == set(medmnist.info())
    assert len(medmnist.NAMES) == 18
    assert {name for name in medmnist.NAMES if name.endswith("3d")} == VOLUMES
    assert set(DATASETS) == {*medmnist.NAMES, "folder", "npz", "phantom"}


def test_table_is_that_of_the_package():
    # the source of the package, so that no copied MD5 can replace it
    text = (Path(find_spec("medmnist").submodule_search_locations[0]) / "info.py").read_text()
    for facts in medmnist.info().values():
        assert facts["MD5"] in text


def test_kinds_of_tasks_are_those_of_medmnist():
    kinds = {name: medmnist.KINDS[facts["task"]] for name, facts in medmnist.info().items()}
    assert [name for name, kind in kinds.items() if kind == "multi-label"] == ["chestmnist"]
    assert [name for name, kind in kinds.items() if kind == "ordinal"] == ["retinamnist"]
    assert kinds["breastmnist"] == "binary"
    assert kinds["organmnist3d"] == "multi-class"


@pytest.mark.parametrize(
    ("name", "pixels", "classes", "channels"),
    [("breastmnist", (28, 28), 2, 1), ("bloodmnist", (28, 28, 3), 8, 3), ("organmnist3d", (28, 28, 28), 11, 28)],
)
def test_official_file_is_loaded_as_official(write, publish, request_, name, pixels, classes, channels):
    path = write(f"{name}.npz", pixels=pixels, classes=min(classes, 6))
    publish(name, path)
    splits = load(name, request_)
    assert (splits.name, splits.official, splits.digest) == (name, True, digest(path))
    assert (splits.task.outputs, splits.channels, splits.image_size) == (classes, channels, 28)


def test_class_names_are_in_the_order_of_their_labels(write, publish, request_):
    publish("organmnist3d", write("organmnist3d.npz", pixels=(28, 28, 28)))
    classes = load("organmnist3d", request_).task.classes
    labels = medmnist.info()["organmnist3d"]["label"]
    assert classes == tuple(labels[str(number)] for number in range(11))


def test_multi_label_dataset_has_a_column_per_label(write, publish, request_):
    bits = {
        f"{split}_labels": np.ones((count, 14), np.uint8) for split, count in (("train", 20), ("val", 6), ("test", 8))
    }
    publish("chestmnist", write("chestmnist.npz", bits, pixels=(28, 28)))
    splits = load("chestmnist", request_)
    assert (splits.task.kind, splits.task.outputs) == ("multi-label", 14)
    assert tuple(splits.train.tensors()[1].shape) == (20, 14)


def test_larger_images_are_read_from_their_own_file(write, publish, request_):
    publish("breastmnist", write("breastmnist_64.npz", pixels=(64, 64), classes=2), suffix="_64")
    request = DataRequest(cache=request_.cache, root=request_.root, image_size=64)
    splits = load("breastmnist", request)
    assert (splits.image_size, splits.official) == (64, True)


@pytest.mark.parametrize(("name", "available"), [("breastmnist", "28, 64, 128, 224"), ("organmnist3d", "28, 64")])
def test_unavailable_size_is_refused_with_the_available_ones(request_, name, available):
    sizes = [*map(int, available.split(", "))]
    for size in {32, 128, 224} - set(sizes):
        with pytest.raises(RequestError, match=f"{name} has no images of {size} pixels.*--image-size {available}"):
            load(name, DataRequest(cache=request_.cache, image_size=size))


def test_unofficial_file_is_refused_unless_allowed(write, request_):
    path = write("breastmnist.npz", pixels=(28, 28), classes=2)
    with pytest.raises(DataError, match=f"MD5 {digest(path)} is not breastmnist's published .*--allow-unofficial"):
        load("breastmnist", request_)
    allowed = DataRequest(cache=request_.cache, root=request_.root, allow_unofficial=True)
    splits = load("breastmnist", allowed)
    assert (splits.official, splits.digest) == (False, digest(path))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pixels": (8, 8), "classes": 2}, r"its images are \(8, 8\); expected \(28, 28\) for breastmnist"),
        ({"pixels": (28, 28, 3), "classes": 2}, r"its images are \(28, 28, 3\); expected \(28, 28\)"),
        ({"pixels": (28, 28), "classes": 3}, "label 2 is out of range; expected 0..1"),
        ({"pixels": (28, 28), "changes": {"val_images": None}}, "has no val_images"),
        ({"pixels": (28, 28), "changes": {"val_images": np.array([{}])}}, "Python objects"),
    ],
)
def test_unofficial_file_is_checked_like_any_other(write, request_, options, words):
    path = write("breastmnist.npz", **options)
    with pytest.raises(DataError, match=words) as error:
        load("breastmnist", DataRequest(cache=request_.cache, root=request_.root, allow_unofficial=True))
    assert str(path) in str(error.value)


def test_folder_of_files_follows_flag_environment_and_home(write, publish, request_, monkeypatch, tmp_path):
    path = write("pneumoniamnist.npz", pixels=(28, 28), classes=2)
    publish("pneumoniamnist", path)
    nameless = DataRequest(cache=request_.cache)
    monkeypatch.setenv("FEDBENCH_DATA", str(path.parent))
    assert load("pneumoniamnist", nameless).official
    monkeypatch.delenv("FEDBENCH_DATA")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with pytest.raises(DataError, match=f"not in {tmp_path}/home/.medmnist"):
        load("pneumoniamnist", nameless)
    (tmp_path / "home").mkdir(exist_ok=True)
    path.parent.rename(tmp_path / "home" / ".medmnist")
    assert load("pneumoniamnist", nameless).official


def test_missing_file_without_a_network_is_a_data_error(write, publish, request_, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    path = write("pneumoniamnist.npz", pixels=(28, 28), classes=2)
    publish("pneumoniamnist", path)
    path.unlink()
    with pytest.raises(DataError) as error:
        load("pneumoniamnist", request_)
    for words in (f"pneumoniamnist.npz is not in {path.parent}", "http://127.0.0.1:9/none.npz", "refused", "phantom"):
        assert words in str(error.value)
    assert list(path.parent.iterdir()) == []


def test_missing_file_is_downloaded_once(write, publish, request_, serve, tmp_path, capsys):
    path = write("pneumoniamnist.npz", pixels=(28, 28), classes=2)
    publish("pneumoniamnist", path, f"{serve}/pneumoniamnist.npz")
    path.rename(tmp_path / "web" / "pneumoniamnist.npz")
    path.parent.rmdir()
    assert load("pneumoniamnist", request_).official
    (tmp_path / "web" / "pneumoniamnist.npz").unlink()
    assert load("pneumoniamnist", request_).official
    assert [file.name for file in path.parent.iterdir()] == ["pneumoniamnist.npz"]
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "pneumoniamnist.npz" in printed.err


def test_download_with_another_md5_is_deleted(write, publish, request_, serve, tmp_path):
    path = write("pneumoniamnist.npz", pixels=(28, 28), classes=2)
    publish("pneumoniamnist", path, f"{serve}/pneumoniamnist.npz")
    (tmp_path / "web" / "pneumoniamnist.npz").write_bytes(path.read_bytes()[:-1])
    path.unlink()
    with pytest.raises(DataError, match=f"{serve}/pneumoniamnist.npz returned a file with MD5"):
        load("pneumoniamnist", request_)
    assert list(path.parent.iterdir()) == []


def test_download_to_an_unwritable_folder_is_a_data_error(write, publish, request_, serve, tmp_path):
    path = write("pneumoniamnist.npz", pixels=(28, 28), classes=2)
    publish("pneumoniamnist", path, f"{serve}/pneumoniamnist.npz")
    path.rename(tmp_path / "web" / "pneumoniamnist.npz")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=f"not in {tmp_path}/file/root "):
        load("pneumoniamnist", DataRequest(cache=request_.cache, root=tmp_path / "file" / "root"))


def test_bundled_file_needs_neither_folder_nor_network(request_, monkeypatch):
    def offline(url, *_):
        pytest.fail(f"downloads {url}")

    monkeypatch.setattr(medmnist, "download", offline)
    splits = load("breastmnist", request_)
    assert [len(splits.train), len(splits.val), len(splits.test)] == [546, 78, 156]
    assert (splits.official, splits.digest) == (True, "750601b1f35ba3300ea97c75c52ff8f6")
    assert splits.task.classes == ("malignant", "normal, benign")
    assert np.bincount(splits.train.labels[:, 0]).tolist() == [147, 399]
    assert not request_.root.exists()


def test_bundled_file_that_was_altered_is_refused(request_, monkeypatch, tmp_path):
    altered = tmp_path / "breastmnist.npz"
    altered.write_bytes((medmnist.BUNDLED / "breastmnist.npz").read_bytes() + b"x")
    monkeypatch.setattr(medmnist, "BUNDLED", tmp_path)
    with pytest.raises(DataError, match=f"{altered}: MD5 {digest(altered)} is not breastmnist's published"):
        load("breastmnist", request_)


def test_files_of_the_user_come_before_bundled_ones(write, request_):
    path = write("breastmnist.npz", pixels=(28, 28), classes=2)
    with pytest.raises(DataError, match=f"{path}: MD5"):
        load("breastmnist", request_)


def test_every_bundled_file_is_named_in_its_license():
    text = (medmnist.BUNDLED / "LICENSE.md").read_text(encoding="utf-8")
    for path in medmnist.BUNDLED.glob("*.npz"):
        assert f"`{path.name}`" in text
        assert digest(path) in text
