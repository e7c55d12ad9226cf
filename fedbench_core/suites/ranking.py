"""The score that ranks a suite where its file names none."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

ACCURACY, AUC = "personalization", "auc"
MOST_FREQUENT = 0.5
"""Above this share of the training images in one class, accuracy mostly shows how often that class is predicted."""
_TWO = 2


def default_metric(records: Iterable[Mapping[str, Any]]) -> str:
    """Macro-AUC if a dataset is one of two classes, of several labels per image, or skewed; else personalization."""
    return AUC if any(map(_needs_auc, records)) else ACCURACY


def _needs_auc(record: Mapping[str, Any]) -> bool:
    data = record["data"]
    counts = np.array(record["population"]["counts"], np.float64).sum(axis=0)
    skewed = counts.max() > MOST_FREQUENT * counts.sum()
    return data["task"] == "multi-label" or len(data["classes"]) == _TWO or bool(skewed)
