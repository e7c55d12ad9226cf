import numpy as np
import pytest

from fedbench_core import RunSpec, run
from fedbench_core.records.correctness import image_scores, read_correctness
from fedbench_core.runner import How
from fedbench_core.statistics.images import METRICS

SMALL = {"backbones": "tiny", "dataset": "spots", "clients": 3, "rounds": 2, "steps": 4, "batch_size": 8}


@pytest.fixture(scope="module")
def record(kit, tmp_path_factory):  # noqa: ARG001  # its parts must be installed
    """The record of a small run, by its method."""
    out = tmp_path_factory.mktemp("runs")
    return lambda method, **settings: (
        run(RunSpec.of({**SMALL, "method": method, **settings}), How(out=out, executor="serial")).record
    )


SKEWED = {"set": {"partitioner.alpha": 0.3}}


@pytest.mark.parametrize("method", ["local", "fedavg", "centralized"])
@pytest.mark.parametrize("metric", METRICS)
def test_images_add_up_to_the_recorded_score(record, method, metric) -> None:
    """But for recalls in single precision."""
    made = record(method, **SKEWED)
    assert made["test"]["groups"]["of"] == "class"
    assert image_scores(made, metric).sum() == pytest.approx(made["test"]["metrics"][metric], abs=1e-7)


@pytest.mark.parametrize(
    "settings",
    [
        {"partitioner": "sites", "set": {"dataset.sites": 3}},
        {"set": {"dataset.labels": "multi-label"}},
    ],
)
@pytest.mark.parametrize("metric", ["personalization", "generalization", "global_accuracy"])
def test_they_do_so_where_clients_are_tested_on_images_of_their_own(record, settings, metric) -> None:
    made = record("local", **settings)
    assert made["test"]["groups"]["of"] == "client"
    assert image_scores(made, metric).sum() == pytest.approx(made["test"]["metrics"][metric], abs=1e-7)
    assert image_scores(made, "balanced_accuracy") is None


def test_a_score_that_is_no_mean_has_none(record) -> None:
    assert image_scores(record("local", **SKEWED), "auc") is None


def test_what_a_record_keeps_of_images_as_arrays(record) -> None:
    kept = read_correctness(record("local", **SKEWED))
    assert kept.correct.shape == (3, 30)
    assert np.bincount(kept.groups).tolist() == [10, 10, 10]  # 30 test images dealt to three classes in turn
    assert kept.groups[:4].tolist() == [0, 1, 2, 0]
    assert kept.shares.sum() == 60
    assert kept.predictor_of_client == [0, 1, 2]


def test_training_images_are_counted_by_client_and_class(record) -> None:
    population = record("fedavg", **SKEWED)["population"]
    assert [sum(row) for row in population["counts"]] == population["images"]["train"]
    many = record("local", set={"dataset.labels": "multi-label"})["population"]
    assert np.shape(many["counts"]) == (3, 3)
    assert sum(map(sum, many["counts"])) != sum(many["images"]["train"])  # an image has several labels, or none
