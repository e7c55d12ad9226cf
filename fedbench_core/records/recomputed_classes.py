"""Scores of models on the whole test set that follow from their predicted classes."""

from collections.abc import Sequence

import numpy as np

from fedbench_core.federation.bits import Codes
from fedbench_core.federation.matrix import Matrix, defined_means, divided


def scores_of_classes(
    codes: Codes, truth: Codes, classes: int, rarest: Sequence[int], *, ordinal: bool
) -> dict[str, Matrix]:
    """Balanced accuracy, recall of the rarest class, F1 and, for ordinal classes, the mean error; (roles, models) each.

    codes: predicted classes (roles, models, images). truth: (images,). rarest: the class of each role. What a class
    without an image would add is left out; undefined without any image.
    """
    chosen, hits = _counts(codes, np.ones(codes.shape, bool), classes), _counts(codes, codes == truth, classes)
    sizes = np.bincount(truth, minlength=classes).astype(np.float64)
    recalls = divided(hits, np.broadcast_to(sizes, hits.shape))
    errors = {"mae": defined_means(np.abs(codes - truth).astype(np.float64))} if ordinal else {}
    return {
        "balanced_accuracy": defined_means(recalls),
        "rarest_recall": recalls[np.arange(len(recalls)), :, list(rarest)],
        "f1": defined_means(divided(2 * hits, np.where(sizes > 0, sizes + chosen, 0.0))),
        **errors,
    }


def _counts(codes: Codes, wanted: Matrix, classes: int) -> Matrix:
    """The number of wanted images that are predicted as each class, (roles, models, classes)."""
    models = codes.shape[0] * codes.shape[1]
    places = codes.reshape(models, -1) + np.arange(0, models * classes, classes)[:, None]
    counts = np.bincount(places.ravel(), weights=wanted.ravel(), minlength=models * classes)
    return np.asarray(counts, np.float64).reshape(*codes.shape[:2], classes)
