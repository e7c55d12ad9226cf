"""What a constant prediction would score on the images of a record, and which of its models predict a constant."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fedbench_core.api.errors import RequestError
from fedbench_core.federation.matrix import divided, mean_of_defined, read_matrix
from fedbench_core.records.correctness import read_correctness
from fedbench_core.records.predictions import confusions, true_classes

_BY_CLASS = "label"


def majority_scores(record: Mapping[str, Any]) -> dict[str, float]:
    """The scores of predicting each client's most frequent training class, as the method `majority` has them.

    Personalization, generalization, worst clients, balanced accuracy, AUC, and the score of clients that were held out;
    empty where classes are not recorded.
    """
    known = _known(record)
    if known is None:
        return {}
    counts, tested = _counts(record, record["population"]), _tested(record)
    favorites = counts.argmax(axis=1)
    scores, _ = read_matrix(_shares(known)[:, favorites].T)
    recalled = tested[favorites] / tested.sum()
    scores |= {"balanced_accuracy": float(recalled.mean()), "auc": 0.5}
    held_out = record["population"].get("held_out")
    if held_out and record["test"]["matrix"]["primary"] == _BY_CLASS:
        unseen = _shares(_counts(record, held_out) * tested)[:, favorites]
        scores["unseen"], _ = mean_of_defined(unseen.ravel())
    return {name: score for name, score in scores.items() if score is not None}


def _shares(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Each row as parts of its sum; undefined if that is 0."""
    return divided(counts, np.broadcast_to(counts.sum(axis=1, keepdims=True), counts.shape))


def constant_predictors(record: Mapping[str, Any]) -> int:
    """How many clients have a model that predicts one and the same class for every test image."""
    try:
        matrices = list(confusions(record).values())
    except RequestError:
        return _constant_by_correctness(record)
    several = any((matrix.sum(axis=-1) > 0).sum() > len(matrix) for matrix in matrices)
    return sum(bool(((matrix.sum(axis=-2) > 0).sum(axis=-1) == 1).all()) for matrix in matrices) if several else 0


def _constant_by_correctness(record: Mapping[str, Any]) -> int:
    """As `constant_predictors`, of a record without predictions; 0 where its images are not grouped by class."""
    if record["test"]["groups"]["of"] != "class":
        return 0
    found, tested = read_correctness(record), _tested(record)
    hits = np.stack([np.bincount(found.groups, weights=row, minlength=len(tested)) for row in found.correct])
    sizes = np.bincount(found.groups, minlength=len(tested))
    constant = (hits == sizes * (hits == hits.max(axis=1, keepdims=True))).all(axis=1) & ((hits > 0).sum(axis=1) == 1)
    rows = [row for row in found.predictor_of_client if row is not None]
    return int(constant[rows].sum()) if tested.sum() > 1 else 0


def _known(record: Mapping[str, Any]) -> npt.NDArray[np.float64] | None:
    """What each client's scores are means over, (clients, classes): its training images of tested classes, by class.

    Where clients have test images of their own, those; None if their classes are not recorded.
    """
    if record["test"]["matrix"]["primary"] == _BY_CLASS:
        return _counts(record, record["population"]) * _tested(record)
    if record["test"]["groups"]["of"] != "client" or record["test"].get("labels") is None:
        return None
    known = np.zeros_like(_counts(record, record["population"]))
    client, kind = read_correctness(record).groups, true_classes(record)
    own = client < len(known)
    np.add.at(known, (client[own], kind[own]), 1)
    return known


def _counts(record: Mapping[str, Any], clients: Mapping[str, Any]) -> npt.NDArray[np.float64]:
    return np.array(clients["counts"], np.float64)[:, : len(record["data"]["classes"])]


def _tested(record: Mapping[str, Any]) -> npt.NDArray[np.bool_]:
    """Which classes have test images."""
    of_class = record["test"]["groups"]["of"] == "class"
    found = read_correctness(record).groups if of_class else true_classes(record)
    return np.bincount(found, minlength=len(record["data"]["classes"]))[: len(record["data"]["classes"])] > 0
