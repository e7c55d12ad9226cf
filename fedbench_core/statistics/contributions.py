"""Scores as sums over test images.

A score that is a mean of correctness over images is linear in the images, so the part of its variance that comes from
the sample of test images can be computed (see `image_variance`). The AUC is so to first order.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.integer]
Correct = npt.NDArray[np.bool_] | npt.NDArray[np.uint8] | Floats
"""Whether each image is predicted correctly, or the fraction of its labels that is."""
METRICS = ("personalization", "generalization", "global_accuracy", "balanced_accuracy")
"""Scores that are means of correctness over images."""


def contributions(
    metric: str,
    correct: Correct,
    groups: Ints,
    shares: Floats | Ints,
    predictor_of_client: Sequence[int],
) -> Floats | None:
    """What each image contributes to a run's `metric`, (images,); the sum is the score. None for other scores.

    correct: (predictors, images). groups: (images,), the class of each image, or the client that holds it.
    shares: (clients, groups), training images by class, or the identity. The score is a sum of share x recall over
    clients and groups; groups without an image are left out as in the cross-evaluation matrix.
    """
    sizes = np.bincount(groups, minlength=shares.shape[1])
    weights = _weights(metric, shares, sizes)
    if weights is None:
        return None
    by_predictor = np.zeros((len(correct), len(sizes)))
    np.add.at(by_predictor, np.asarray(predictor_of_client), weights / np.maximum(sizes, 1))
    scores: Floats = np.einsum("pi,pi->i", by_predictor.take(groups, axis=1), correct.astype(np.float64))
    return scores


def auc_contributions(scores: npt.NDArray[np.floating[Any]], members: npt.NDArray[np.bool_]) -> Floats | None:
    """What each image contributes to the macro-AUC, (images,); the sum is the score. None if no class has one.

    scores, members: (images, classes), one class against the rest; classes without a positive or a negative are left
    out. The AUC of a class is the mean over its images of the fraction of other images with a lower score (ties count
    half), so each contributes that fraction; another image contributes by how much the fraction of the class's images
    above it exceeds the AUC. The squares of deviations within positives and negatives give the variance of
    DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988), equations 4 and 5.
    """
    found = np.zeros(scores.shape)
    known = np.flatnonzero(members.any(axis=0) & ~members.all(axis=0))
    for k in known:
        inside, outside = scores[members[:, k], k], scores[~members[:, k], k]
        below, above = _part_below(inside, outside), 1 - _part_below(outside, inside)
        found[members[:, k], k] = below / len(inside)
        found[~members[:, k], k] = (above - above.mean()) / len(outside)
    return found.sum(axis=1) / len(known) if len(known) else None


def _part_below(scores: npt.NDArray[np.floating[Any]], others: npt.NDArray[np.floating[Any]]) -> Floats:
    """The fraction of the others below each score; equal ones count half."""
    ordered = np.sort(others)
    counts: Floats = np.searchsorted(ordered, scores, "left") + np.searchsorted(ordered, scores, "right") * 1.0
    return counts / (2 * len(others))


def _weights(metric: str, shares: Floats | Ints, sizes: Ints) -> Floats | None:
    """The weight of each client's recall in each group, (clients, groups)."""
    clients, known = len(shares), sizes > 0
    mixtures = np.zeros((clients, len(sizes)))
    mixtures[:, : shares.shape[1]] = shares
    mixtures *= known
    totals = mixtures.sum(axis=1, keepdims=True)
    mixtures /= np.where(totals > 0, totals, 1)
    tested = int((totals > 0).sum())
    if metric == "personalization" and tested:
        return mixtures / tested
    if metric == "generalization" and tested and clients > 1:
        others: Floats = (mixtures.sum(axis=0) - mixtures) / (tested * (clients - 1))
        return others
    if metric == "global_accuracy":
        return np.tile(sizes / sizes.sum() / clients, (clients, 1))
    if metric == "balanced_accuracy":
        return np.tile(known / known.sum() / clients, (clients, 1))
    return None
