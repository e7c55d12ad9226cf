"""Per-class scores that are NaN where they are undefined, and a mean that leaves those out.

All scores are computed by torchmetrics for each class, because its macro averages count absent classes as zero. It is
imported on first use, which takes a second.
"""

import math
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from threading import Thread

import torch
from torch import Tensor

THRESHOLD = 0.5
"""The probability from which a label is predicted."""
BINS = 15
"""Bins of the expected calibration error."""
_SWITCH_SECONDS = 0.0002
"""How long other threads wait for one that imports: 5 ms by default, as long as a short turn takes."""
_importing: list[Thread] = []


def import_in_background() -> None:
    """Import torchmetrics in another thread, if torch._dynamo is imported, for a process that waits for others first.

    The modules of torch._dynamo import each other: if two threads did so, one might see half of a module.
    """
    if "torch._dynamo" in sys.modules:
        thread = Thread(target=_import, daemon=True)
        _importing.append(thread)
        thread.start()


def _wait_for_import() -> None:
    """Wait for the other thread: if its import fails while this one waits inside its own, both fail."""
    while _importing:
        _importing.pop().join()


def _import() -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        with suppress(Exception):  # the first use raises it again
            import_module("torchmetrics")
    finally:
        sys.setswitchinterval(before)


def mean(values: Tensor) -> float | None:
    """The mean of the values that are defined (not NaN), whatever their dtype; None if there is none."""
    defined = values.double()
    defined = defined[~defined.isnan()]
    return float(defined.mean()) if len(defined) else None


def recalls(predicted: Tensor, members: Tensor) -> Tensor:
    """The fraction of each class that is predicted correctly, (classes,); NaN for a class without an image.

    predicted, members: bool (n, classes). On the complements, this gives the specificities.
    """
    _wait_for_import()
    from torchmetrics.functional.classification import multilabel_recall  # noqa: PLC0415  # slow to import

    return _per_class(multilabel_recall, predicted, members)


def f1s(predicted: Tensor, members: Tensor) -> Tensor:
    """The F1 score of each class, (classes,); NaN for a class without an image. Both are bool (n, classes)."""
    _wait_for_import()
    from torchmetrics.functional.classification import multilabel_f1_score  # noqa: PLC0415  # slow to import

    return _per_class(multilabel_f1_score, predicted, members)


def aucs(probabilities: Tensor, members: Tensor) -> Tensor:
    """The area under each class's ROC curve, one against the rest, (classes,); NaN without a positive or a negative.

    probabilities, members (bool): (n, classes).
    """
    _wait_for_import()
    from torchmetrics.functional.classification import binary_auroc  # noqa: PLC0415  # slow to import

    areas = torch.full((members.shape[1],), math.nan)
    for k in torch.nonzero(members.any(dim=0) & ~members.all(dim=0)).flatten().tolist():
        areas[k] = binary_auroc(probabilities[:, k], members[:, k].long())
    return areas


def ece(probabilities: Tensor, labels: Tensor) -> float | None:
    """The expected calibration error: the l1 distance of confidence and accuracy over equal bins; None without images.

    labels (n,): of the predicted class. labels (n, L): of all n * L probabilities, against how often the label holds.
    """
    _wait_for_import()
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
