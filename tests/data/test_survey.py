"""What is told about a dataset."""

import numpy as np
import pytest

from fedbench_core.api import DataRequest
from fedbench_core.data.datasets import DATASETS
from fedbench_core.data.survey import survey


@pytest.fixture
def surveyed(write, request_):
    def surveyed(**changes):
        return survey(DATASETS["npz"](path=str(write(changes=changes))).load(request_))

    return surveyed


@pytest.fixture
def clean():
    """Images that all differ."""
    rng, sizes = np.random.default_rng(0), {"train": 20, "val": 6, "test": 8}
    return {f"{split}_images": rng.integers(0, 256, (count, 8, 8), np.uint8) for split, count in sizes.items()}


def test_images_are_counted_by_class_and_site(surveyed, clean):
    sites = {"train": np.resize(["b", "a"], 20), "val": np.full(6, "a"), "test": np.full(8, "b")}
    found = surveyed(**clean, **{f"{split}_sites": values for split, values in sites.items()})
    assert found["images"] == {"train": 20, "val": 6, "test": 8}
    assert found["classes"] == [
        {"class": "0", "train": 7, "val": 2, "test": 3},
        {"class": "1", "train": 7, "val": 2, "test": 3},
        {"class": "2", "train": 6, "val": 2, "test": 2},
    ]
    assert found["sites"] == [
        {"site": "a", "train": 10, "val": 6, "test": 0},
        {"site": "b", "train": 10, "val": 0, "test": 8},
    ]
    assert found["notes"] == ["The site 'a' has no test images.", "The site 'b' has no val images."]


def test_labels_of_multi_label_images_are_counted(surveyed, clean):
    labels = {
        f"{split}_labels": np.resize([[1, 0], [1, 1]], (n, 2)) for split, n in (("train", 20), ("val", 6), ("test", 8))
    }
    assert surveyed(**clean, **labels)["classes"] == [
        {"class": "0", "train": 20, "val": 6, "test": 8},
        {"class": "1", "train": 10, "val": 3, "test": 4},
    ]


def test_dataset_without_faults_has_no_notes(surveyed, clean):
    found = surveyed(**clean)
    assert (found["duplicates"], found["notes"]) == ([], [])


def test_duplicates_are_named(surveyed, clean):
    clean["test_images"][5] = clean["train_images"][8]  # labels 2 and 2
    clean["val_images"][1] = clean["val_images"][3]  # labels 1 and 0
    found = surveyed(**clean)
    assert sorted(found["duplicates"]) == [["train image 8", "test image 5"], ["val image 1", "val image 3"]]
    assert [note.partition(":")[2] for note in found["notes"]] == [
        " train image 8 = test image 5.",
        " val image 1 = val image 3.",
        " val image 1 = val image 3.",
    ]
    across, within, differing = found["notes"]
    assert "in train and in test" in across
    assert "in val (1)" in within
    assert "different labels" in differing


def test_blank_images_are_named(surveyed, clean):
    clean["test_images"][2] = 7
    (note,) = surveyed(**clean)["notes"]
    assert "one color (1): test image 2." in note


def test_official_file_with_a_duplicate_is_told(tmp_path):
    # BreastMNIST as published: one image is in the training and the test images, with different labels
    found = survey(DATASETS["breastmnist"]().load(DataRequest(tmp_path / "cache", root=tmp_path)))
    assert found["duplicates"] == [["train image 115", "test image 76"]]
    assert len(found["notes"]) == 2
