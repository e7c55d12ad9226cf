"""Scores of predicted classes, worked by hand."""

import numpy as np
import pytest

from fedbench_core.records.recomputed_classes import scores_of_classes


def test_scores_follow_from_the_counts_of_each_class() -> None:
    """Recalls 1, 1/2 and 0; F1 2/3, 2/3 and 0; the fourth class has no image. Errors 0, 0, 1 and 2 classes."""
    found = scores_of_classes(np.array([[[0, 1, 2, 0]]]), np.array([0, 1, 1, 2]), 4, [2], ordinal=True)
    values = {name: scores.item() for name, scores in found.items()}
    assert values == pytest.approx({"balanced_accuracy": 1 / 2, "rarest_recall": 0, "f1": 4 / 9, "mae": 3 / 4})
    absent = scores_of_classes(np.array([[[0]]]), np.array([0]), 2, [1], ordinal=False)
    assert np.isnan(absent["rarest_recall"]).all()
    assert absent.keys() == found.keys() - {"mae"}
