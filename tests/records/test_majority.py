import numpy as np
import pytest

from fedbench_core import RunSpec, run
from fedbench_core.federation.bits import text_of_bits, text_of_codes
from fedbench_core.records.majority import constant_predictors, majority_scores
from fedbench_core.runner import How


def record(correct, counts=((3, 1), (1, 1)), images=(0, 0, 0, 1)) -> dict:
    """Two classes, four test images; `correct` has a row per predictor, one for each client."""
    return {
        "data": {"classes": ["a", "b"], "images": {"test": len(images)}, "task": "multi-class"},
        "population": {"counts": [list(row) for row in counts], "clients": len(counts)},
        "test": {
            "groups": {"of": "class", "kinds": 2, "images": text_of_codes(np.array(images), 2)},
            "correct": [text_of_bits(np.packbits(np.array(row, bool))) for row in correct],
            "matrix": {"primary": "label", "predictor_of_client": list(range(len(correct)))},
        },
    }


def test_scores_of_the_most_frequent_class_agree_with_a_computation_by_hand() -> None:
    """Client 0 predicts a: 3/4 of its own images and 1/2 of the other's; client 1 the first of its equal classes, a."""
    assert majority_scores(record([[1, 1, 1, 0]] * 2)) == {
        "personalization": (3 / 4 + 1 / 2) / 2,
        "generalization": (1 / 2 + 3 / 4) / 2,
        "worst_client": 1 / 2,
        "balanced_accuracy": 1 / 2,
        "auc": 0.5,
    }


def test_class_without_test_images_counts_for_nothing() -> None:
    """Both clients have class a only among tested classes; client 1 predicts b, which has no test image."""
    scores = majority_scores(record([[1, 1], [0, 0]], counts=((3, 1), (1, 2)), images=(0, 0)))
    assert (scores["personalization"], scores["worst_client"], scores["balanced_accuracy"]) == (0.5, 0.0, 0.5)


def test_client_without_tested_images_is_left_out_of_generalization() -> None:
    """Client 1 has no image of a tested class: no model is scored on it; its own model, which predicts b, gets 0."""
    scores = majority_scores(record([[1, 1], [0, 0], [1, 1]], counts=((3, 1), (0, 2), (2, 0)), images=(0, 0)))
    assert (scores["personalization"], scores["generalization"]) == (1.0, (1 + 0 + 0 + 1) / 4)


@pytest.mark.parametrize(
    ("correct", "clients"),
    [
        ([[1, 1, 1, 0], [0, 0, 0, 1]], 2),  # always a; always b
        ([[1, 1, 0, 0], [1, 1, 1, 1]], 0),  # an a is taken for b; all right
        ([[1, 1, 1, 0], [0, 0, 1, 1]], 1),
        ([[0, 0, 0, 0], [1, 1, 1, 1]], 0),  # every image wrong: both classes are predicted
    ],
)
def test_models_that_predict_one_class_only_are_counted(correct, clients) -> None:
    assert constant_predictors(record(correct)) == clients


@pytest.mark.usefixtures("kit")
@pytest.mark.parametrize(
    "partition", [{}, {"partitioner": "sites", "set": {"dataset.sites": 3, "dataset.test": 35}}], ids=str
)
def test_scores_are_those_of_the_method(partition, tmp_path) -> None:
    settings = {"method": "majority", "dataset": "spots", "backbones": "tiny", "clients": 3, "rounds": 1}
    spec = RunSpec.of({**settings, **partition})
    made = run(spec, How(out=tmp_path, executor="serial")).record
    expected = majority_scores(made)
    assert expected.keys() >= {"personalization", "generalization", "worst_client", "balanced_accuracy", "auc"}
    assert {name: made["test"]["metrics"][name] for name in expected} == pytest.approx(expected)
    assert constant_predictors(made) == 3
