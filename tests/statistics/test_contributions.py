import numpy as np
import pytest

from fedbench_core.statistics.contributions import METRICS, contributions

# Two predictors on four images of classes 0, 0, 1, 1: recalls (1, 1/2) and (0, 1). Training counts (3, 1) and (0, 2).
CORRECT = np.array([[1, 1, 1, 0], [0, 0, 1, 1]], dtype=bool)
GROUPS = np.array([0, 0, 1, 1])
SHARES = np.array([[3, 1], [0, 2]])


def _score(metric, correct=CORRECT, groups=GROUPS, shares=SHARES, predictor_of_client=(0, 1)):
    found = contributions(metric, correct, groups, shares, predictor_of_client)
    return None if found is None else found.sum()


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("personalization", (0.875 + 1) / 2),
        ("generalization", (0.5 + 0.25) / 2),
        ("global_accuracy", (0.75 + 0.5) / 2),
        ("balanced_accuracy", (0.75 + 0.5) / 2),
    ],
)
def test_contributions_add_up_to_the_score(metric, expected) -> None:
    assert _score(metric) == pytest.approx(expected)


def test_contribution_of_an_image_is_the_share_of_its_class_in_correct_predictors() -> None:
    """Class 0 has two images, 3/4 of client 0 and nothing of client 1; the mean is over two clients."""
    found = contributions("personalization", CORRECT, GROUPS, SHARES, [0, 1])
    assert found.tolist() == pytest.approx([3 / 16, 3 / 16, 1 / 16 + 1 / 4, 1 / 4])


def test_clients_with_a_common_predictor_count_once_each() -> None:
    shared = _score("personalization", CORRECT[:1], predictor_of_client=[0, 0])
    assert shared == _score("personalization", CORRECT[[0, 0]]) == pytest.approx((0.875 + 0.5) / 2)


def test_class_without_test_images_is_left_out() -> None:
    shares = np.array([[1, 1, 2], [2, 2, 0], [0, 0, 5]])
    predictions = {"correct": np.array([[1, 0], [1, 1], [0, 1]]), "groups": np.array([0, 1]), "shares": shares}
    # the third client only has images of an untested class: its column is undefined
    assert _score("personalization", **predictions, predictor_of_client=[0, 1, 2]) == (0.5 + 1) / 2
    off_diagonal = [0.5, 1.0, 0.5, 0.5]
    assert _score("generalization", **predictions, predictor_of_client=[0, 1, 2]) == pytest.approx(
        np.mean(off_diagonal)
    )
    assert _score("balanced_accuracy", **predictions, predictor_of_client=[0, 1, 2]) == pytest.approx(
        (0.5 + 1 + 0.5) / 3
    )


def test_images_of_no_client_count_in_global_scores_only() -> None:
    """Groups are clients; the last image belongs to neither."""
    clients = {"correct": np.array([[1, 0, 1], [0, 1, 1]]), "groups": np.array([0, 1, 2]), "shares": np.eye(2)}
    assert _score("personalization", **clients) == 1
    assert _score("generalization", **clients) == 0
    assert _score("global_accuracy", **clients) == pytest.approx(2 / 3)


@pytest.mark.parametrize("metric", ["auc", "ece", "worst_client", "f1"])
def test_score_that_is_no_mean_over_images_has_no_contributions(metric) -> None:
    assert _score(metric) is None
    assert metric not in METRICS


def test_single_client_has_no_generalization() -> None:
    assert _score("generalization", CORRECT[:1], shares=SHARES[:1], predictor_of_client=[0]) is None
