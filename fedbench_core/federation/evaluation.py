"""The cross-evaluation matrix and the scores that follow from it.

A[i, j] is the score of client i's model on client j's distribution. Personalization is the mean of its diagonal,
generalization the mean off the diagonal, and `unseen` the mean over all clients' models and all clients that were held
out of training. What is undefined is left out of a mean and of its count, and is counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fedbench_core.api import Indices, RunError, Task
from fedbench_core.federation.bits import text_of_bits, text_of_codes, text_of_floats
from fedbench_core.federation.matrix import Matrix, divided, expanded, mean_of_defined, read_matrix
from fedbench_core.federation.partition import Counts, Partition
from fedbench_core.federation.scoring import ModelScore, Scored

Probabilities = npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Role:
    """One role's model of each client, None for a client that has none; and its predictions for the client's images."""

    scores: list[ModelScore | None]
    local: list[Probabilities | None]

    @classmethod
    def empty(cls, clients: int) -> "_Role":
        return cls([None] * clients, [None] * clients)

    @property
    def defined(self) -> list[ModelScore]:
        return [score for score in self.scores if score is not None]


def evaluate(done: Sequence[Scored], partition: Partition, split: str, by: str) -> dict[str, Any]:
    """Everything measured on one split: the summary of the headline role, and that of each further role in `roles`.

    Clients that are held out are tested on the test split only. unseen_role: the role whose score for them counts, of a
    model in common if there is one, since that is what a client could have that takes no part; or else the headline.
    """
    roles = _by_role(done, partition, split)
    headline, *further = roles
    unseen = {} if partition.held_out is None else {"unseen_role": _common(done) or headline}
    primary = "label" if by == "labels" and partition.splits.task.kind != "multi-label" else "local"
    summaries = {role: _summary(models, partition, split, primary) for role, models in roles.items()}
    return {
        "role": headline,
        **summaries[headline],
        "roles": {role: summaries[role] for role in further},
        "groups": _groups(partition, split, primary),
        **_labels(partition, split, primary),
        **_auc_images(roles[headline]),
        **unseen,
    }


def _auc_images(models: _Role) -> dict[str, str]:
    """What each image contributes to the AUC, mean over clients; nothing if a client has no model, or no AUC."""
    found = [None if score is None else score.auc_images for score in models.scores]
    known = [images for images in found if images is not None]
    if len(known) < len(found):
        return {}
    return {"auc_images": text_of_floats(np.mean(known, axis=0))}


def _common(done: Sequence[Scored]) -> str:
    """The first role of a model that clients have in common, or that the server keeps; "" if there is none."""
    of = {role: one.call.of for one in sorted(done, key=_order) for role in one.scores}
    return next((role for role, whose in of.items() if whose != "client"), "")


def _order(done: Scored) -> int:
    """Clients' own models come first, then models in common, then the server's."""
    return ("client", "received", "server").index(done.call.of)


def _by_role(done: Sequence[Scored], partition: Partition, split: str) -> dict[str, _Role]:
    """The scores by role: clients' own models first, then models in common, then the server's."""
    sizes = [len(rows) for rows in partition.indices[split]]
    roles: dict[str, _Role] = {}
    for one in sorted(done, key=_order):
        cuts = np.cumsum(np.array([sizes[client] for client in one.call.clients], dtype=int))[:-1]
        for role, score in one.scores.items():
            models = roles.setdefault(role, _Role.empty(len(sizes)))
            for client, own in zip(one.call.clients, np.split(one.local[role], cuts), strict=False):
                if models.scores[client] is not None:
                    raise RunError(
                        f"Two models of client {client} have the role {role!r}. Give each a role of its own."
                    )
                models.scores[client], models.local[client] = score, own
    return roles


def _groups(partition: Partition, split: str, primary: str) -> dict[str, Any]:
    """Which images the primary matrix averages together: those of a class, or those of a client (the last: nobody's).

    Clients that are held out come after the others. With the groups, the matrix can be computed from per-image
    correctness.
    """
    examples = getattr(partition.splits, split)
    if primary == "label":
        codes, kinds = examples.targets().numpy(), partition.splits.task.outputs
    else:
        owned = [*partition.indices[split], *_held_out_rows(partition, split)]
        codes, kinds = np.full(len(examples), len(owned)), len(owned) + 1
        for client, rows in enumerate(owned):
            codes[rows] = client
    return {"of": "class" if primary == "label" else "client", "kinds": kinds, "images": text_of_codes(codes, kinds)}


def _held_out_rows(partition: Partition, split: str) -> list[Indices]:
    """The test images of the clients that are held out; validation uses none of theirs."""
    held_out = partition.held_out
    return [] if held_out is None or split != "test" else held_out.indices[split]


def _labels(partition: Partition, split: str, primary: str) -> dict[str, str]:
    """The class of each image where the groups are clients; labels of multi-label images follow from correctness."""
    task = partition.splits.task
    if primary == "label" or task.kind == "multi-label":
        return {}
    return {"labels": text_of_codes(getattr(partition.splits, split).targets().numpy(), task.outputs)}


def _summary(models: _Role, partition: Partition, split: str, primary: str) -> dict[str, Any]:
    distinct = list({score.digest: score for score in models.defined}.values())
    digests = [score.digest for score in distinct]
    rows = [None if score is None else digests.index(score.digest) for score in models.scores]
    matrices = {
        "label": _by_label(distinct, partition.counts, partition.splits.task),
        "local": _by_images(distinct, partition, split, partition.indices[split]),
    }
    summary, undefined = read_matrix(expanded(matrices[primary], rows))
    if own := _held_out_rows(partition, split):
        unseen = _of_held_out(distinct, partition, split, primary, own)
        summary["unseen"], undefined["unseen"] = mean_of_defined(expanded(unseen, rows).ravel())
    names = distinct[0].scores if distinct else {}
    for name in names:
        summary["global_accuracy" if name == "accuracy" else name], undefined[name] = mean_of_defined(
            [None if score is None else score.scores[name] for score in models.scores]
        )
    rarest = int(_rarest(partition))
    recalls = [None if score is None else float(score.recalls[rarest]) for score in models.scores]
    summary["rarest_recall"], undefined["rarest_recall"] = mean_of_defined(recalls)
    summary |= _calibration(models, partition, split)
    return {
        "metrics": summary,
        "undefined": {name: count for name, count in undefined.items() if count},
        "rarest_class": partition.splits.task.classes[rarest],
        "matrix": {
            "primary": primary,
            "predictor_of_client": rows,
            **{name: _plain(matrix) for name, matrix in matrices.items()},
        },
        "correct": [text_of_bits(score.correct) for score in distinct],
        "predicted": [score.predicted for score in distinct],
    }


def _of_held_out(
    distinct: Sequence[ModelScore], partition: Partition, split: str, primary: str, own: Sequence[Indices]
) -> Matrix:
    """The scores of each model on the distribution of each client that is held out, (models, clients held out)."""
    if primary == "local" or partition.held_out is None:
        return _by_images(distinct, partition, split, own)
    return _by_label(distinct, partition.held_out.counts, partition.splits.task)


def _by_label(distinct: Sequence[ModelScore], counts: Counts, task: Task) -> Matrix:
    """A[i, j] = sum_k share_j(k) recall_i(k): p(image | label) is the same everywhere, so all images serve."""
    if task.kind == "multi-label":
        return np.full((len(distinct), len(counts)), np.nan)
    if not distinct:
        return np.empty((0, len(counts)))
    recalls = np.stack([score.recalls for score in distinct])
    counts = counts[:, : recalls.shape[1]].astype(np.float64)
    known = ~np.isnan(recalls)
    weights = known.astype(np.float64) @ counts.T
    return divided(np.where(known, recalls, 0.0) @ counts.T, weights)


def _by_images(distinct: Sequence[ModelScore], partition: Partition, split: str, owned: Sequence[Indices]) -> Matrix:
    """A[i, j] = the part of the images `owned[j]` that predictor i gets right."""
    if not distinct:
        return np.empty((0, len(owned)))
    examples = getattr(partition.splits, split)
    width = partition.splits.task.outputs if partition.splits.task.kind == "multi-label" else 1
    bits = [np.unpackbits(score.correct, count=len(examples) * width) for score in distinct]
    right = np.stack([b.reshape(len(examples), width).mean(axis=1) for b in bits])
    sums = np.stack([right[:, rows].sum(axis=1) for rows in owned], axis=1)
    return divided(sums, np.broadcast_to([float(len(rows)) for rows in owned], sums.shape))


def _rarest(partition: Partition) -> int:
    """The class with the fewest training images among those that have any."""
    task = partition.splits.task
    if task.kind == "multi-label":
        counts = np.asarray(partition.centralized.examples("train", 0).targets()).sum(axis=0)
    else:
        counts = partition.counts.sum(axis=0)[: task.outputs]
    return int(np.argmin(np.where(counts > 0, counts, np.inf)))


def _calibration(models: _Role, partition: Partition, split: str) -> dict[str, Any]:
    """Calibration over all clients' predictions for their own images, pooled: binning few images would bias it."""
    defined = [client for client, own in enumerate(models.local) if own is not None]
    if not defined:
        return {"ece": None, "brier": None, "n": 0}
    rows = np.concatenate([partition.indices[split][client] for client in defined])
    own = np.concatenate([own for own in models.local if own is not None])
    examples = getattr(partition.splits, split)
    return partition.splits.task.calibration(torch.from_numpy(own), examples.targets(rows))


def _plain(matrix: Matrix) -> list[list[float | None]]:
    return [[None if np.isnan(value) else float(value) for value in row] for row in matrix]
