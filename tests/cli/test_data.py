"""`fedbench data check`: what it prints, and its exit status for wrong datasets."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from fedbench_core.cli.group import fedbench

LABELS = "file,label,split,site\n" + "".join(
    f"{split}{number}.png,{'cat' if number % 2 else 'dog'},{split},North\n"
    for split in ("train", "val", "test")
    for number in range(2)
)


@pytest.fixture
def check(tmp_path, monkeypatch):
    """`fedbench data check folder:own`; the CSV file and the files are those of the call."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEDBENCH_CACHE", str(tmp_path / "cache"))

    def check(*flags, dataset="folder:own", labels=LABELS, **files):
        Path("own").mkdir(exist_ok=True)
        rng = np.random.default_rng(0)
        for line in LABELS.splitlines()[1:]:
            Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(Path("own") / line.partition(",")[0])
        for name, blob in files.items():
            (Path("own") / f"{name}.png").write_bytes(blob)
        Path("own/labels.csv").write_text(labels)
        return CliRunner().invoke(fedbench, ["data", "check", dataset, *flags])

    return check


def test_check_prints_classes_sites_and_faults(check):
    result = check()
    assert result.exit_code == 0
    for line in ("folder:own: binary, 28 x 28 pixels", "all images      2    2     2", "North      2    2     2"):
        assert line in result.stdout
    assert "No duplicates" in result.stdout
    assert "6 images of own" in result.stderr


def test_check_prints_json(check):
    found = json.loads(check("--json", "--image-size", "8", "--set", "dataset.channels=color").stdout)
    assert (found["image_shape"], found["notes"]) == ([8, 8, 3], [])


def test_file_of_a_duplicate_is_named(check):
    check()
    result = check(test0=Path("own/train1.png").read_bytes())
    assert result.exit_code == 0
    assert "train1.png (train) = test0.png (test)" in result.stdout


WRONG = {
    "missing file": ({"labels": LABELS.replace("val1.png", "lost.png")}, 1, ["row 5", "lost.png"]),
    "unreadable image": ({"val1": b"no image"}, 1, ["row 5", "own/val1.png"]),
    "file in two splits": ({"labels": LABELS + "val1.png,cat,train,North\n"}, 1, ["rows 5 and 8", "val1.png"]),
    "unknown column": ({"labels": LABELS.replace("site", "hospital")}, 1, ["labels.csv", "'hospital'"]),
    "label without images": ({"labels": LABELS.replace("val1.png,cat", "val1.png,emu")}, 1, ["'emu'", "row 5"]),
    "no such folder": ({"dataset": "folder:other"}, 1, ["other"]),
    "no such dataset": ({"dataset": "breast"}, 2, ["'breastmnist'"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_dataset_is_refused_with_its_row_and_file(check, case):
    arguments, status, words = WRONG[case]
    result = check(**arguments)
    assert (result.exit_code, result.stdout) == (status, "")
    for word in words:
        assert word in result.stderr
