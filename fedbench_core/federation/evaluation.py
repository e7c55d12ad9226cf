"""The cross-evaluation matrix and what is read off it.

A[i, j] is the score of client i's predictor on client j's distribution. Personalization is the mean of its diagonal,
generalization the mean off it. What is undefined is left out of a mean and of its count, and counted.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fedbench_core.federation.bits import text_of_bits, text_of_codes
from fedbench_core.federation.calls import RoleScore, ScoreDone
from fedbench_core.federation.partition import Partition

Matrix = npt.NDArray[np.float64]
DECILE_FROM = 20


def evaluate(scored: Sequence[ScoreDone], shares: Partition, split: str, by: str) -> dict[str, Any]:
    """Everything measured on one split: the headline role's summary, and each further role's under `roles`."""
    roles = list(scored[0].roles)
    primary = "label" if by == "labels" and shares.splits.task.kind != "multi-label" else "local"
    summaries = {role: _summary([done.roles[role] for done in scored], shares, split, primary) for role in roles}
    return {
        "role": roles[0],
        **summaries[roles[0]],
        "roles": {role: summaries[role] for role in roles[1:]},
        "groups": _groups(shares, split, primary),
    }


def _groups(shares: Partition, split: str, primary: str) -> dict[str, Any]:
    """Which images the primary matrix averages together: those of a class, or those of a client (the last: nobody's).

    With them, its scores follow from per-image correctness.
    """
    examples = getattr(shares.splits, split)
    if primary == "label":
        codes, kinds = examples.targets().numpy(), shares.splits.task.outputs
    else:
        codes, kinds = np.full(len(examples), len(shares.indices[split])), len(shares.indices[split]) + 1
        for client, rows in enumerate(shares.indices[split]):
            codes[rows] = client
    return {"of": "class" if primary == "label" else "client", "kinds": kinds, "images": text_of_codes(codes, kinds)}


def _summary(scores: Sequence[RoleScore], shares: Partition, split: str, primary: str) -> dict[str, Any]:
    digests = list(dict.fromkeys(score.digest for score in scores))
    rows = [digests.index(score.digest) for score in scores]
    distinct = [next(score for score in scores if score.digest == digest) for digest in digests]
    matrices = {"label": _by_label(distinct, shares), "local": _by_images(distinct, shares, split)}
    summary, undefined = _read(matrices[primary][rows])
    for name in scores[0].scores:
        summary["global_accuracy" if name == "accuracy" else name], undefined[name] = _mean(
            [score.scores[name] for score in scores]
        )
    rarest = int(_rarest(shares))
    summary["rarest_recall"], undefined["rarest_recall"] = _mean([score.recalls[rarest] for score in scores])
    summary |= _calibration(scores, shares, split)
    return {
        "metrics": summary,
        "undefined": {name: count for name, count in undefined.items() if count},
        "rarest_class": shares.splits.task.classes[rarest],
        "matrix": {
            "primary": primary,
            "predictor_of_client": rows,
            **{name: _plain(matrix) for name, matrix in matrices.items()},
        },
        "correct": [text_of_bits(score.correct) for score in distinct],
    }


def _by_label(distinct: Sequence[RoleScore], shares: Partition) -> Matrix:
    """A[i, j] = sum_k share_j(k) recall_i(k): p(image | label) is the same everywhere, so all images serve."""
    if shares.splits.task.kind == "multi-label":
        return np.full((len(distinct), len(shares.counts)), np.nan)
    recalls = np.stack([score.recalls for score in distinct])
    counts = shares.counts[:, : recalls.shape[1]].astype(np.float64)
    known = ~np.isnan(recalls)
    weights = known.astype(np.float64) @ counts.T
    return _divide(np.where(known, recalls, 0.0) @ counts.T, weights)


def _by_images(distinct: Sequence[RoleScore], shares: Partition, split: str) -> Matrix:
    """A[i, j] = the part of client j's own images that predictor i gets right."""
    examples = getattr(shares.splits, split)
    width = shares.splits.task.outputs if shares.splits.task.kind == "multi-label" else 1
    bits = [np.unpackbits(score.correct, count=len(examples) * width) for score in distinct]
    right = np.stack([b.reshape(len(examples), width).mean(axis=1) for b in bits])
    owned = shares.indices[split]
    sums = np.stack([right[:, rows].sum(axis=1) for rows in owned], axis=1)
    return _divide(sums, np.broadcast_to([float(len(rows)) for rows in owned], sums.shape))


def _divide(sums: Matrix, weights: Matrix) -> Matrix:
    quotients = np.full(sums.shape, np.nan)
    np.divide(sums, weights, out=quotients, where=weights > 0)
    return quotients


def _read(matrix: Matrix) -> tuple[dict[str, float | None], dict[str, int]]:
    """Personalization, generalization and the worst clients, off the full (clients, clients) matrix."""
    own = np.diag(matrix)
    others = matrix[~np.eye(len(matrix), dtype=bool)]
    metrics: dict[str, float | None] = {}
    undefined: dict[str, int] = {}
    metrics["personalization"], undefined["personalization"] = _mean(own)
    metrics["generalization"], undefined["generalization"] = _mean(others)
    known = np.sort(own[~np.isnan(own)])
    metrics["worst_client"] = float(known[0]) if len(known) else None
    if len(own) >= DECILE_FROM and len(known):
        metrics["worst_decile"] = float(known[: max(1, len(known) // 10)].mean())
    return metrics, undefined


def _mean(values: Sequence[float | None] | npt.NDArray[np.float64]) -> tuple[float | None, int]:
    """The mean of what is defined, and how many were not."""
    known = [float(value) for value in values if value is not None and not np.isnan(value)]
    return (float(np.mean(known)) if known else None), len(values) - len(known)


def _rarest(shares: Partition) -> int:
    """The class with the fewest training images among those that have any."""
    task = shares.splits.task
    if task.kind == "multi-label":
        counts = np.asarray(shares.centralized("train").targets()).sum(axis=0)
    else:
        counts = shares.counts.sum(axis=0)[: task.outputs]
    return int(np.argmin(np.where(counts > 0, counts, np.inf)))


def _calibration(scores: Sequence[RoleScore], shares: Partition, split: str) -> dict[str, Any]:
    """Calibration over all clients' predictions for their own images, pooled: binning few images would bias it."""
    rows = np.concatenate(shares.indices[split])
    own = np.concatenate([score.own for score in scores])
    examples = getattr(shares.splits, split)
    return shares.splits.task.calibration(torch.from_numpy(own), examples.targets(rows))


def _plain(matrix: Matrix) -> list[list[float | None]]:
    return [[None if np.isnan(value) else float(value) for value in row] for row in matrix]
