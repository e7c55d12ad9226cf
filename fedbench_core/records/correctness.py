"""Correctness of the predictions for each test image, read from a record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from fedbench_core.federation.bits import Codes, bits_of_texts, codes_of_text, floats_of_text
from fedbench_core.records.scored import scored
from fedbench_core.statistics.contributions import Correct, Floats, contributions

AUC = "auc"
_NEEDS_CLASSES = ("balanced_accuracy",)
"""Metrics that need the class of each image."""


@dataclass(frozen=True)
class Correctness:
    """Correctness of each distinct predictor on each test image, and the weights of images.

    correct: (predictors, images), 0 to 1, a mean over the rounds of the last period. groups: (images,), the class of
    each image if `by` is "class", the client that it belongs to if `by` is "client". shares: (clients, groups).
    predictor_of_client: (clients,).
    """

    correct: Correct
    groups: npt.NDArray[np.int64]
    by: str
    shares: Floats
    predictor_of_client: list[int | None]


def read_correctness(record: Mapping[str, Any]) -> Correctness:
    """The correctness of a record's headline predictors."""
    by, population = record["test"]["groups"]["of"], record["population"]
    shares = np.array(population["counts"], np.float64) if by == "class" else np.eye(population["clients"])
    found = scored(record)
    distinct, of_client = found.predictors
    by_round = [
        _correct(record, one["correct"])[np.array([rows[at] for rows in distinct], int)]
        for at, one in enumerate(found.evaluations)
    ]
    correct = by_round[0] if len(by_round) == 1 else np.mean(by_round, axis=0)
    return Correctness(correct, image_groups(record), by, shares, of_client)


def _correct(record: Mapping[str, Any], texts: Sequence[str]) -> Correct:
    """The correctness of the distinct models of a round, (models, images)."""
    data = record["data"]
    images, labels = data["images"]["test"], len(data["classes"]) if data["task"] == "multi-label" else 1
    bits = bits_of_texts(texts, images * labels)
    return bits if labels == 1 else bits.reshape(-1, images, labels).mean(axis=2)


def image_groups(record: Mapping[str, Any]) -> Codes:
    """The class or the client of each test image, (images,)."""
    encoded = record["test"]["groups"]
    return _codes(encoded["images"], record["data"]["images"]["test"], encoded["kinds"])


@lru_cache(maxsize=64)
def _codes(text: str, images: int, kinds: int) -> Codes:
    """Cached, because all records of a leaderboard have the same test images and groups."""
    codes = codes_of_text(text, images, kinds)
    codes.flags.writeable = False
    return codes


def image_scores(record: Mapping[str, Any], metric: str) -> Floats | None:
    """What each test image contributes to a record's `metric`, (images,).

    None if the metric is neither a mean over images nor the AUC, if the record is of a version that did not keep what
    the AUC needs, or if some client has no model, so that the mean leaves it out.
    """
    if metric == AUC:
        texts = [one.get("auc_images") for one in scored(record).evaluations]
        return None if None in texts else np.mean([floats_of_text(str(text)) for text in texts], axis=0)
    correctness = read_correctness(record)
    of_client = [row for row in correctness.predictor_of_client if row is not None]
    if len(of_client) < len(correctness.predictor_of_client):
        return None
    if correctness.by != "class" and metric in _NEEDS_CLASSES:
        return None
    return contributions(metric, correctness.correct, correctness.groups, correctness.shares, of_client)
