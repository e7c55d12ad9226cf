import numpy as np
import pytest

from fedbench_core import RunSpec, run
from fedbench_core.records.correctness import image_scores, read_correctness
from fedbench_core.runner import How
from fedbench_core.statistics.contributions import METRICS

SMALL = {"backbones": "tiny", "dataset": "spots", "clients": 3, "rounds": 2, "steps": 4, "batch_size": 8}


@pytest.fixture(scope="module")
def record(kit, tmp_path_factory):  # noqa: ARG001  # its parts must be installed
    """Run a method on small data; returns its record."""
    out = tmp_path_factory.mktemp("runs")
    return lambda method, **settings: (
        run(RunSpec.of({**SMALL, "method": method, **settings}), How(out=out, executor="serial")).record
    )


SKEWED = {"set": {"partitioner.alpha": 0.3}}


@pytest.mark.parametrize("method", ["local", "fedavg", "centralized"])
@pytest.mark.parametrize("metric", METRICS)
def test_image_scores_sum_to_the_recorded_score(record, method, metric) -> None:
    """Up to the single precision of recalls."""
    found = record(method, **SKEWED)
    assert found["test"]["groups"]["of"] == "class"
    assert image_scores(found, metric).sum() == pytest.approx(found["test"]["metrics"][metric], abs=1e-7)


@pytest.mark.parametrize(
    "settings",
    [
        {"partitioner": "sites", "set": {"dataset.sites": 3}},
        {"set": {"dataset.labels": "multi-label"}},
    ],
)
@pytest.mark.parametrize("metric", ["personalization", "generalization", "global_accuracy"])
def test_image_scores_sum_to_the_recorded_score_for_separate_test_images(record, settings, metric) -> None:
    found = record("local", **settings)
    assert found["test"]["groups"]["of"] == "client"
    assert image_scores(found, metric).sum() == pytest.approx(found["test"]["metrics"][metric], abs=1e-7)
    assert image_scores(found, "balanced_accuracy") is None


def test_image_scores_are_none_for_a_metric_that_is_not_a_mean(record) -> None:
    assert image_scores(record("local", **SKEWED), "f1") is None


def test_image_scores_of_the_auc_add_up_to_it(record) -> None:
    found = record("local", **SKEWED)
    assert image_scores(found, "auc").sum() == pytest.approx(found["test"]["metrics"]["auc"], abs=1e-6)


def test_correctness_is_read_as_arrays(record) -> None:
    correctness = read_correctness(record("local", **SKEWED))
    assert correctness.correct.shape == (3, 30)
    assert np.bincount(correctness.groups).tolist() == [10, 10, 10]  # 30 test images of three classes in turn
    assert correctness.groups[:4].tolist() == [0, 1, 2, 0]
    assert correctness.shares.sum() == 60
    assert correctness.predictor_of_client == [0, 1, 2]


def test_counts_are_training_images_by_client_and_class(record) -> None:
    population = record("fedavg", **SKEWED)["population"]
    assert [sum(row) for row in population["counts"]] == population["images"]["train"]
    many = record("local", set={"dataset.labels": "multi-label"})["population"]
    assert np.shape(many["counts"]) == (3, 3)
    assert sum(map(sum, many["counts"])) != sum(many["images"]["train"])  # an image has several labels, or none


def test_images_tell_nothing_of_a_mean_that_leaves_clients_out(record) -> None:
    found = record("local", fraction=0.34, rounds=1)
    assert None in found["test"]["matrix"]["predictor_of_client"]
    assert image_scores(found, "personalization") is None
