"""`fedbench predict`: what it writes and refuses."""

import csv
import io
import json
import shutil

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from fedbench_core import RunSpec, load_model, run
from fedbench_core.cli import fedbench
from fedbench_core.federation.bits import text_of_bits
from fedbench_core.runner import How

SETTINGS = {"method": "local", "backbones": "tiny", "dataset": "spots", "clients": 2, "rounds": 1, "steps": 2}


@pytest.fixture(scope="module")
def folder(kit, tmp_path_factory):  # noqa: ARG001  # its parts must be installed
    """A run whose models were kept."""
    return run(RunSpec.of(SETTINGS), How(out=tmp_path_factory.mktemp("runs"), executor="serial")).folder


def predict(*arguments):
    return CliRunner().invoke(fedbench, ["predict", *map(str, arguments)], prog_name="fedbench")


def table(text):
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture
def images():
    """Color images as of the dataset."""
    return np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)


def test_predictions_for_an_npz_file_are_those_of_the_model(folder, images, tmp_path) -> None:
    np.savez(tmp_path / "scans.npz", images=images)
    result = predict(folder, tmp_path / "scans.npz", "--client", 1)
    assert result.exit_code == 0, result.output
    rows = table(result.stdout)
    expected = load_model(folder, 1)(torch.from_numpy(images).permute(0, 3, 1, 2))
    found = torch.tensor([[float(row[f"p_kind {k}"]) for k in range(3)] for row in rows], dtype=torch.float32)
    assert torch.equal(found, expected)
    assert [row["index"] for row in rows] == list("01234")
    assert [row["predicted"] for row in rows] == [f"kind {k}" for k in expected.argmax(dim=1).tolist()]


def test_pictures_are_resized_and_named(folder, images, tmp_path) -> None:
    scans = tmp_path / "scans"
    (scans / "more").mkdir(parents=True)
    Image.fromarray(images[0]).resize((40, 20)).save(scans / "b.png")
    Image.fromarray(images[1, ..., 0]).save(scans / "more" / "a.jpeg")
    Image.fromarray(images[2]).save(scans / "=1+1.png")
    (scans / "notes.txt").write_text("mine")
    out = tmp_path / "predicted.csv"
    result = predict(folder, scans, "--client", 0, "--out", out)
    assert (result.exit_code, result.stdout) == (0, "")
    assert [row["file"] for row in table(out.read_text())] == ["'=1+1.png", "b.png", "more/a.jpeg"]
    alone = predict(folder, scans / "b.png", "--client", 0, "--json")
    assert [row["file"] for row in json.loads(alone.stdout)] == ["b.png"]
    again = predict(folder, scans, "--client", 0, "--out", out)
    assert again.exit_code == 2
    assert str(out) in again.stderr


def test_predictions_for_a_dataset_give_the_recorded_correctness(folder) -> None:
    rows = json.loads(predict(folder, "spots", "--client", 0, "--json").stdout)
    right = [row["predicted"] == f"kind {index % 3}" for index, row in enumerate(rows)]
    record = json.loads((folder / "record.json").read_text())
    row = record["test"]["matrix"]["predictor_of_client"][0]
    assert text_of_bits(np.packbits(right)) == record["test"]["correct"][row]


def test_images_of_a_folder_dataset_are_named(folder, images, tmp_path) -> None:
    rows = [(f"{kind}-{split}.png", f"kind {kind}", split) for kind in range(3) for split in ("train", "val", "test")]
    for name, _, _ in rows:
        Image.fromarray(images[0]).save(tmp_path / name)
    (tmp_path / "labels.csv").write_text("\n".join(map(",".join, [("file", "label", "split"), *rows])))
    predicted = json.loads(predict(folder, f"folder:{tmp_path}", "--client", 0, "--json").stdout)
    assert [row["file"] for row in predicted] == ["0-test.png", "1-test.png", "2-test.png"]


WRONG = {
    "gray images": (lambda images: {"images": images[..., 0]}, "takes 3"),
    "large images": (lambda images: {"images": images.repeat(2, axis=1).repeat(2, axis=2)}, "16 x 16"),
    "other classes": (lambda images: {"images": images, "classes": ["benign", "malignant"]}, "malignant"),
    "one class": (lambda images: {"images": images, "classes": "benign"}, "benign"),
    "no images": (lambda images: {"pictures": images}, "pictures"),
}


@pytest.mark.parametrize(("arrays", "named"), WRONG.values(), ids=WRONG)
def test_images_that_do_not_fit_the_model_are_refused(arrays, named, folder, images, tmp_path) -> None:
    np.savez(tmp_path / "scans.npz", **arrays(images))
    result = predict(folder, tmp_path / "scans.npz", "--client", 0)
    assert result.exit_code == 2, result.output
    assert named in result.stderr


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["spots"], "clients 0, 1"),
        (["spots", "--client", "2"], "clients 0, 1"),
        (["spots", "--client", "0", "--role", "teacher"], "model"),
        (["no/such/folder", "--client", "0"], "no/such/folder"),
        (["spotz", "--client", "0"], "file or dataset"),
        (["spots", "--client", "0", "--split", "tests"], "test"),
    ],
)
def test_request_that_names_nothing_is_refused(arguments, named, folder) -> None:
    result = predict(folder, *arguments)
    assert result.exit_code == 2, result.output
    assert named in result.stderr


def test_run_without_models_says_what_to_type(folder, tmp_path) -> None:
    shutil.copy(folder / "record.json", tmp_path)
    result = predict(tmp_path, "spots")
    assert result.exit_code == 2
    assert "--keep models" in result.stderr
    no_run = predict(tmp_path / "none", "spots")
    assert (no_run.exit_code, "fedbench runs" in no_run.stderr) == (2, True)


def test_damaged_file_of_images_is_an_error(folder, tmp_path) -> None:
    (tmp_path / "scans.npz").write_bytes(b"PK\x03\x04 not an archive")
    result = predict(folder, tmp_path / "scans.npz", "--client", 0)
    assert result.exit_code == 1
    assert "scans.npz" in result.stderr
