"""Paired bootstrap over test images.

All seeds share one test set, so tests over seeds ignore that the test set itself is a sample. Scores that are means of
correctness over images are linear in the images, so resampling is a matrix product: (resamples, images) by
(images, entries).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import numpy.typing as npt

from fedbench_core.statistics import LEVEL, TINY
from fedbench_core.statistics.pairs import Difference, Pair, holm

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.integer]
Correct = npt.NDArray[np.bool_] | npt.NDArray[np.uint8] | Floats
"""Whether each image is predicted correctly, or the fraction of its labels that is."""
Resamples = npt.NDArray[np.uint8]
"""How often each image is drawn, (resamples, images)."""
METRICS = ("personalization", "generalization", "global_accuracy", "balanced_accuracy")
"""Scores that are means of correctness over images."""
NOT_CONFIRMED = "not significant in the bootstrap over test images"
_BLOCK_BYTES = 2**26


class ImagePair(Difference):
    """A difference over images with its bootstrap interval."""


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


def resample(groups: Ints, rng: np.random.Generator, resamples: int = 2000) -> Resamples:
    """Draws with replacement within each group, so that group sizes stay as they are."""
    drawn = np.empty((resamples, len(groups)), np.uint8)
    for group in np.unique(groups):
        images = np.flatnonzero(groups == group)
        count = len(images)
        drawn[:, images] = [np.bincount(rng.integers(count, size=count), minlength=count) for _ in range(resamples)]
    return drawn


def compare_images(scores: Mapping[str, Mapping[int, Floats]], drawn: Resamples) -> list[ImagePair]:
    """All pairs of entries on the same resampled images, with Holm's correction over all pairs.

    scores: entry -> seed -> contributions (images,), averaged over seeds first. p uses the normal approximation with
    the standard deviation of the resamples: a p counted from 2,000 resamples can't be below 1 in 1,000, which is too
    coarse for Holm's correction over the 55 pairs of 11 entries.
    """
    first, second = np.triu_indices(len(scores), 1)
    if not len(first):
        return []
    means = np.stack([np.mean(list(own.values()), axis=0) for own in scores.values()], axis=1)
    observed = means.sum(axis=0)[first] - means.sum(axis=0)[second]
    again = _product(drawn, means)
    spread = again[:, first] - again[:, second]
    low, high = np.quantile(spread, (LEVEL / 2, 1 - LEVEL / 2), axis=0)
    p = _p(observed, spread.std(axis=0, ddof=1))
    significant, p_holm = holm(p)
    numbers = np.stack([observed, low, high, p, p_holm]).T.tolist()
    columns = zip(combinations(scores, 2), numbers, significant, strict=True)
    return [
        ImagePair(a, b, difference, least, most, single, corrected, bool(yes))
        for (a, b), (difference, least, most, single, corrected), yes in columns
    ]


def confirm(pairs: Iterable[Pair], images: Iterable[ImagePair]) -> list[Pair]:
    """The pairs over seeds; those that are not significant over images in the same direction lose significance."""
    signs = {(pair.a, pair.b): np.sign(pair.difference) * pair.significant for pair in images}
    return [
        replace(pair, significant=False, why_not=NOT_CONFIRMED)
        if pair.significant and signs.get((pair.a, pair.b), 0) != np.sign(pair.difference)
        else pair
        for pair in pairs
    ]


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


def _product(drawn: Resamples, means: Floats) -> Floats:
    """Drawn @ means in blocks, because `drawn` as floats takes eight times its memory."""
    rows = max(1, _BLOCK_BYTES // (8 * drawn.shape[1]))
    return np.concatenate([drawn[at : at + rows].astype(np.float64) @ means for at in range(0, len(drawn), rows)])


def _p(observed: Floats, errors: Floats) -> Floats:
    """Two-sided p; 1 without a difference, 0 if all resamples have the same difference."""
    from scipy import stats  # noqa: PLC0415  # slow to import

    differs = np.abs(observed) >= TINY
    ratios = np.where(differs, np.abs(observed), 0.0) / np.maximum(errors, np.finfo(np.float64).tiny)
    return np.asarray(2 * stats.norm.sf(ratios))
