"""Per-class scores that are NaN where they are undefined, and a mean that leaves those out.

All scores are computed by torchmetrics for each class, because its macro averages count absent classes as zero. It is
imported on first use, which takes a second.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

THRESHOLD = 0.5
"""The probability from which a label is predicted."""
BINS = 15
"""Bins of the expected calibration error."""


def mean(values: Tensor) -> float | None:
    """The mean of the values that are defined (not NaN), whatever their dtype; None if there is none."""
    defined = values.double()
    defined = defined[~defined.isnan()]
    return float(defined.mean()) if len(defined) else None


def recalls(predicted: Tensor, members: Tensor) -> Tensor:
    """The fraction of each class that is predicted correctly, (classes,); NaN for a class without an image.

    predicted, members: bool (n, classes). On the complements, this gives the specificities.
    """
    from torchmetrics.functional.classification import multilabel_recall  # noqa: PLC0415  # slow to import

    return _per_class(multilabel_recall, predicted, members)


def f1s(predicted: Tensor, members: Tensor) -> Tensor:
    """The F1 score of each class, (classes,); NaN for a class without an image. Both are bool (n, classes)."""
    from torchmetrics.functional.classification import multilabel_f1_score  # noqa: PLC0415  # slow to import

    return _per_class(multilabel_f1_score, predicted, members)


def aucs(probabilities: Tensor, members: Tensor) -> Tensor:
    """The area under each class's ROC curve, one against the rest, (classes,); NaN without a positive or a negative.

    probabilities, members (bool): (n, classes).
    """
    from torchmetrics.functional.classification import binary_auroc  # noqa: PLC0415  # slow to import

    areas = torch.full((members.shape[1],), math.nan)
    for k in torch.nonzero(members.any(dim=0) & ~members.all(dim=0)).flatten().tolist():
        areas[k] = binary_auroc(probabilities[:, k], members[:, k].long())
    return areas


def ece(probabilities: Tensor, labels: Tensor) -> float | None:
    """The expected calibration error: the l1 distance of confidence and accuracy over equal bins; None without images.

    labels (n,): of the predicted class. labels (n, L): of all n * L probabilities, against how often the label holds.
    """
    from torchmetrics.functional.classification import (  # noqa: PLC0415  # slow to import
        binary_calibration_error,
        multiclass_calibration_error,
    )

    if not len(labels):
        return None
    exact = probabilities.double()
    if labels.dim() > 1:
        return float(binary_calibration_error(exact.flatten(), labels.flatten(), BINS, "l1"))
    return float(multiclass_calibration_error(exact, labels, exact.shape[1], BINS, "l1"))


def _per_class(score: Callable[..., Tensor], predicted: Tensor, members: Tensor) -> Tensor:
    if not len(members):  # torchmetrics raises an error without images
        return torch.full((members.shape[1],), math.nan)
    values = score(predicted.long(), members.long(), num_labels=members.shape[1], average=None)
    return torch.where(members.any(dim=0), values, math.nan)
