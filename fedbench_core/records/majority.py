"""What a constant prediction would score on the images of a record, and which of its models predict a constant."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fedbench_core.records.correctness import read_correctness

_BY_CLASS = "label"


def majority_scores(record: Mapping[str, Any]) -> dict[str, float]:
    """The scores of predicting each client's most frequent training class, as the method `majority` has them.

    Personalization, generalization, worst client, balanced accuracy, AUC, and the score of clients that were held out;
    empty where scores are not by class.
    """
    if record["test"]["matrix"]["primary"] != _BY_CLASS:
        return {}
    counts, tested = _counts(record, record["population"]), _tested(record)
    known = counts * tested
    matrix = _shares(known)[:, counts.argmax(axis=1)].T
    own, others = matrix.diagonal()[known.sum(axis=1) > 0], matrix[~np.eye(len(matrix), dtype=bool)]
    recalled = tested[counts.argmax(axis=1)] / tested.sum()
    scores = {"balanced_accuracy": float(recalled.mean()), "auc": 0.5}
    if len(own):
        scores |= {"personalization": float(own.mean()), "worst_client": float(own.min())}
    if held_out := record["population"].get("held_out"):
        unseen = _counts(record, held_out) * tested
        if len(unseen := unseen[unseen.sum(axis=1) > 0]):
            scores["unseen"] = float(_shares(unseen)[:, counts.argmax(axis=1)].mean())
    return scores | ({"generalization": float(others.mean())} if len(others) else {})


def _shares(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Each row as parts of its sum."""
    parts: npt.NDArray[np.float64] = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return parts


def constant_predictors(record: Mapping[str, Any]) -> int:
    """How many clients have a model that predicts one and the same class for every test image."""
    if record["test"]["groups"]["of"] != "class":
        return 0
    found, tested = read_correctness(record), _tested(record)
    hits = np.stack([np.bincount(found.groups, weights=row, minlength=len(tested)) for row in found.correct])
    sizes = np.bincount(found.groups, minlength=len(tested))
    constant = (hits == sizes * (hits == hits.max(axis=1, keepdims=True))).all(axis=1) & ((hits > 0).sum(axis=1) == 1)
    rows = [row for row in found.predictor_of_client if row is not None]
    return int(constant[rows].sum()) if tested.sum() > 1 else 0


def _counts(record: Mapping[str, Any], clients: Mapping[str, Any]) -> npt.NDArray[np.float64]:
    return np.array(clients["counts"], np.float64)[:, : len(record["data"]["classes"])]


def _tested(record: Mapping[str, Any]) -> npt.NDArray[np.bool_]:
    """Which classes have test images."""
    groups = read_correctness(record).groups
    return np.bincount(groups, minlength=len(record["data"]["classes"]))[: len(record["data"]["classes"])] > 0
