"""What a record tells of single test images, as arrays."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from fedbench_core.federation.bits import Codes, bits_of_text, codes_of_text
from fedbench_core.statistics.images import Correct, Floats, contributions

_BY_CLASS = ("balanced_accuracy",)
"""Scores that need the class of each image."""


@dataclass(frozen=True)
class Correctness:
    """How right each distinct predictor was on each test image, and how the images are weighed.

    correct: (predictors, images). groups: (images,), the class of each, or the client it belongs to, as `by` says.
    shares: (clients, groups). predictor_of_client: (clients,).
    """

    correct: Correct
    groups: npt.NDArray[np.int64]
    by: str
    shares: Floats
    predictor_of_client: list[int]


def read_correctness(record: Mapping[str, Any]) -> Correctness:
    """The correctness that a record keeps of its headline predictors."""
    data, test, population = record["data"], record["test"], record["population"]
    images, coded = data["images"]["test"], test["groups"]
    labels = len(data["classes"]) if data["task"] == "multi-label" else 1
    right = np.stack([bits_of_text(text, images * labels) for text in test["correct"]])
    correct: Correct = right if labels == 1 else right.reshape(-1, images, labels).mean(axis=2)
    groups = _codes(coded["images"], images, coded["kinds"])
    by_class = coded["of"] == "class"
    shares = np.array(population["counts"], np.float64) if by_class else np.eye(population["clients"])
    return Correctness(correct, groups, coded["of"], shares, test["matrix"]["predictor_of_client"])


@lru_cache(maxsize=64)
def _codes(text: str, images: int, kinds: int) -> Codes:
    """The records of a leaderboard have the same test images, and their groups are read once."""
    codes = codes_of_text(text, images, kinds)
    codes.flags.writeable = False
    return codes


def image_scores(record: Mapping[str, Any], metric: str) -> Floats | None:
    """What each test image adds to a record's `metric`, (images,); None where that is no mean over images."""
    kept = read_correctness(record)
    if kept.by != "class" and metric in _BY_CLASS:
        return None
    return contributions(metric, kept.correct, kept.groups, kept.shares, kept.predictor_of_client)
