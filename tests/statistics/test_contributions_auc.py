"""What test images contribute to the AUC."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from fedbench_core.statistics.contributions import auc_contributions
from fedbench_core.statistics.image_variance import ImageScores, image_variances


def _two(scores):
    """Scores of the second of two classes, and of the first, as probabilities."""
    scores = np.asarray(scores, np.float64)
    return np.stack([1 - scores, scores], axis=1)


def test_auc_of_two_classes_and_delongs_variance_by_hand() -> None:
    scores, labels = np.array([0.9, 0.6, 0.4, 0.7, 0.4, 0.1]), np.array([1, 1, 1, 0, 0, 0])
    found = auc_contributions(_two(scores), np.eye(2, dtype=bool)[labels])
    # Positives above 3, 2 and 1.5 of 3 negatives: V10 = 1, 2/3, 1/2. Negatives below 1, 2.5 and 3: V01 = 1/3, 5/6, 1.
    auc, v10, v01 = 13 / 18, np.array([1, 2 / 3, 1 / 2]), np.array([1 / 3, 5 / 6, 1])
    assert found.sum() == pytest.approx(auc)
    assert auc == pytest.approx(roc_auc_score(labels, scores))
    delong = v10.var(ddof=1) / 3 + v01.var(ddof=1) / 3
    table = {"a": {0: found, 1: found}, "b": {0: np.zeros(6), 1: np.zeros(6)}}  # no model has AUC 0 with no variance
    images, interaction = image_variances(ImageScores(table, labels), ["a", "b"])
    assert images == pytest.approx([delong])
    assert interaction == pytest.approx([0], abs=1e-15)


def test_variance_of_a_difference_is_delongs_with_the_covariance() -> None:
    rng, labels = np.random.default_rng(0), np.repeat([0, 1], [30, 20])
    both = [labels + rng.normal(size=50), labels + rng.normal(size=50)]
    both[1] = both[1] + both[0]
    found = [auc_contributions(_two(scores), np.eye(2, dtype=bool)[labels]) for scores in both]
    v = [[], []]
    for scores in both:
        above = (scores[labels == 1][:, None] > scores[labels == 0][None]).astype(float)
        v[0].append(above.mean(axis=1))
        v[1].append(above.mean(axis=0))
    s10, s01 = (np.cov(one) for one in v)
    covariance = s10 / 20 + s01 / 30
    expected = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    table = {name: {0: own, 1: own} for name, own in zip("ab", found, strict=True)}
    assert image_variances(ImageScores(table, labels), ["a", "b"])[0] == pytest.approx([expected])


@pytest.mark.parametrize("kind", ["several classes", "several labels", "absent class", "ties"])
def test_contributions_add_up_to_the_macro_auc_of_scikit_learn(kind) -> None:
    rng = np.random.default_rng(1)
    scores = rng.random((60, 4)) if kind != "ties" else rng.integers(0, 3, (60, 4)) / 3
    labels = rng.integers(0, 3 if kind == "absent class" else 4, 60)
    members = np.eye(4, dtype=bool)[labels] if kind != "several labels" else rng.random((60, 4)) < 0.3
    known = [k for k in range(4) if members[:, k].any()]
    expected = np.mean([roc_auc_score(members[:, k], scores[:, k]) for k in known])
    assert auc_contributions(scores, members).sum() == pytest.approx(expected)


def test_single_class_has_no_auc() -> None:
    assert auc_contributions(np.full((3, 2), 0.5), np.eye(2, dtype=bool)[[1, 1, 1]]) is None
