"""Scores as sums over test images.

A score that is a mean of correctness over images is linear in the images, so the part of its variance that comes from
the sample of test images can be computed (see `image_variance`).
"""

from collections.abc import Sequence

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
