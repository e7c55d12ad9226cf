"""What the models of a run predicted for each test image: confusion matrices, and scores of each class."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedbench_core.api.errors import RequestError
from fedbench_core.federation.bits import Codes
from fedbench_core.federation.matrix import mean_of_defined
from fedbench_core.records.correctness import image_groups, read_correctness
from fedbench_core.records.decoded import read_codes
from fedbench_core.records.scored import scored

Record = Mapping[str, Any]
Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ClassScore:
    """The scores of a class on all test images, means over the clients' models; None where undefined or not recorded.

    They are means over the rounds of the last period, too. images: of the class. worst: the lowest recall of a client.
    """

    name: str
    images: int
    recall: float | None
    worst: float | None
    precision: float | None
    f1: float | None


def predicted_classes(record: Record, test: Record) -> Codes:
    """The predicted class of each test image by each distinct model of the headline role in one evaluation.

    (models, images). RequestError for a record without predictions, or a multi-label task.
    """
    data = record["data"]
    if data["task"] == "multi-label":
        raise RequestError("An image of this run has several labels, so that there is no confusion matrix of classes.")
    if test.get("predicted") is None:
        raise RequestError(
            "The record is of an earlier version, which did not keep predictions. Run it again with --fresh."
        )
    kinds, images = len(data["classes"]), data["images"]["test"]
    return read_codes(test["predicted"], images, kinds, "predicted")


def true_classes(record: Record) -> Codes:
    """The class of each test image, (images,); RequestError where a record does not hold them."""
    test, data = record["test"], record["data"]
    if test["groups"]["of"] == "class":
        return image_groups(record)
    if test.get("labels") is None:
        raise RequestError("The record does not hold the classes of the test images.")
    (codes,) = read_codes([test["labels"]], data["images"]["test"], len(data["classes"]), "labels")
    return np.asarray(codes)


def confusions(record: Record) -> dict[int, Counts]:
    """For each client with a model, the test images by true class (rows) and predicted class (columns).

    (rounds, classes, classes), for each round of the last period. Errors as in `predicted_classes`.
    """
    found, truth, kinds = scored(record), true_classes(record), len(record["data"]["classes"])
    by_round = [
        [np.bincount(truth * kinds + row, minlength=kinds**2) for row in predicted_classes(record, one)]
        for one in found.evaluations
    ]
    distinct, of_client = found.predictors
    matrices = [
        np.stack([own[row] for own, row in zip(by_round, rows, strict=True)]).reshape(-1, kinds, kinds)
        for rows in distinct
    ]
    return {client: matrices[row] for client, row in enumerate(of_client) if row is not None}


def confusion(record: Record, client: int | None = None) -> npt.NDArray[np.float64]:
    """The confusion matrix of a client's model, or its mean over all clients' models and rounds, (classes, classes).

    Test images by true class (rows) and predicted class (columns). Errors as in `predicted_classes`; RequestError for
    a client without a model.
    """
    found = confusions(record)
    if client is not None and client not in found:
        raise RequestError(
            f"No client {client} with a model. Clients with one: {', '.join(map(str, found)) or 'none'}."
        )
    matrices = list(found.values()) if client is None else [found[client]]
    kinds = len(record["data"]["classes"])
    means = np.mean(matrices, axis=(0, 1), dtype=np.float64) if matrices else np.full((kinds, kinds), np.nan)
    return np.asarray(means)


def count_text(count: float) -> str:
    """A number of images, with one decimal for a mean that is no whole number."""
    return f"{count:.1f}".removesuffix(".0")


def class_scores(record: Record, client: int | None = None) -> list[ClassScore]:
    """The scores of each class with a test image, for one client's model or as means over all.

    Of a record of an earlier version, the recalls only; empty where it has no correctness by class, either.
    RequestError for a client without a model.
    """
    try:
        matrices = confusions(record)
    except RequestError:
        return _recalls(record)
    if client is not None:
        confusion(record, client)
        matrices = {client: matrices[client]}
    return _scores(record, np.stack(list(matrices.values()))) if matrices else []


def _scores(record: Record, matrices: Counts) -> list[ClassScore]:
    """matrices: (models, rounds, classes, classes)."""
    hits = np.diagonal(matrices, axis1=2, axis2=3)
    images, chosen = matrices.sum(axis=3), matrices.sum(axis=2)
    with np.errstate(invalid="ignore"):  # a class that is never predicted has no precision
        recall, precision, f1 = hits / images, hits / chosen, 2 * hits / (images + chosen)
    return [
        ClassScore(
            *(name, int(images[0, 0, at]), _mean(recall, at), float(recall[..., at].mean(axis=1).min())),
            *(_mean(precision, at), _mean(f1, at)),
        )
        for at, name in enumerate(record["data"]["classes"])
        if images[0, 0, at]
    ]


def _mean(scores: Floats, at: int) -> float | None:
    """The mean of a class over models and rounds. scores: (models, rounds, classes)."""
    return mean_of_defined(scores[..., at].ravel())[0]


def _recalls(record: Record) -> list[ClassScore]:
    found = read_correctness(record)
    rows = [row for row in found.predictor_of_client if row is not None]
    if found.by != "class" or record["data"]["task"] == "multi-label" or not rows:
        return []
    scores = []
    for number, name in enumerate(record["data"]["classes"]):
        own = found.groups == number
        if own.any():
            values = found.correct[:, own].mean(axis=1)[rows]
            scores.append(ClassScore(name, int(own.sum()), float(values.mean()), float(values.min()), None, None))
    return scores
