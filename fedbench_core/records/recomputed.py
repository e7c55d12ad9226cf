"""The scores of records, computed from per-image correctness and the clients' training images.

Records with equal test images and equally many models are computed together: a leaderboard has thousands of them.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fedbench_core.federation.bits import Codes
from fedbench_core.federation.matrix import Matrix, divided, means_of_defined, read_matrices
from fedbench_core.records.decoded import Bits, Groups, ReadError, groups_of, read_bits, read_codes
from fedbench_core.records.recomputed_classes import scores_of_classes

Record = Mapping[str, Any]
Pair = tuple[Record, Record]
"""A record and the summary of one of its roles."""
_TWO = 2
_MOST_VALUES = 2**22
"""Per-image values that are computed together."""


@dataclass(frozen=True)
class Scores:
    """What follows from the predictions of a role: the primary matrix (models, clients), metrics, undefined values.

    fault: how recorded predictions contradict correctness; "" if they don't, or if there are none.
    """

    primary: str
    matrix: Matrix
    metrics: dict[str, float | int | None]
    undefined: dict[str, int]
    rarest_class: str
    fault: str


class _Kind(NamedTuple):
    """What roles have in common that are computed together.

    rows: the model of each client; held_out: the number of clients that don't train; truth: the classes of the images.
    """

    groups: Groups
    by_class: bool
    task: str
    classes: int
    images: int
    models: int
    rows: tuple[int | None, ...]
    held_out: int
    predicted: bool
    truth: str

    @property
    def labels(self) -> int:
        """The values of an image."""
        return self.classes if self.task == "multi-label" else 1

    @property
    def values(self) -> int:
        """The values of a role."""
        return max(1, self.models * self.images * self.labels)


def scores_of(record: Record, summary: Record) -> Scores:
    """The scores of one role; ReadError if its values don't fit the images, clients and classes."""
    (found,) = scores_of_all([(record, summary)])
    if isinstance(found, ReadError):
        raise found
    return found


def scores_of_all(pairs: Sequence[Pair]) -> list[Scores | ReadError]:
    """The scores of many roles in their order, or what `scores_of` raises."""
    found: dict[int, Scores | ReadError] = {}
    alike: defaultdict[_Kind, list[int]] = defaultdict(list)
    for at, pair in enumerate(pairs):
        try:
            alike[_kind(*pair)].append(at)
        except ReadError as error:
            found[at] = error
    for kind, places in alike.items():
        most = max(1, _MOST_VALUES // kind.values)
        for start in range(0, len(places), most):
            some = places[start : start + most]
            found |= zip(some, _scores(kind, [pairs[at] for at in some]), strict=True)
    return [found[at] for at in range(len(pairs))]


def _kind(record: Record, summary: Record) -> _Kind:
    """ReadError for values that don't fit the clients and models."""
    data, test, clients = record["data"], record["test"], record["population"]["clients"]
    rows, texts, predicted = summary["matrix"]["predictor_of_client"], summary["correct"], summary.get("predicted")
    if len(rows) != clients or {row for row in rows if row is not None} != set(range(len(texts))):
        raise ReadError(f"matrix.predictor_of_client names other models than the {len(texts)} in correct")
    for name in ("label", "local"):
        shape = [len(row) for row in summary["matrix"][name]]
        if shape != [clients] * len(texts):
            raise ReadError(f"matrix.{name} has rows of {shape} values; expected {clients} for each of {len(texts)}")
    if predicted is not None and len(predicted) != len(texts):
        raise ReadError(f"predicted has {len(predicted)} models; expected {len(texts)}")
    by_class = test["groups"]["of"] == "class"
    return _Kind(
        *(groups_of(record), by_class, data["task"], len(data["classes"]), data["images"]["test"], len(texts)),
        *(tuple(rows), len(_held_out(record)), predicted is not None, "" if by_class else test.get("labels") or ""),
    )


def _held_out(record: Record) -> list[list[int]]:
    """The training images of the clients that don't train, (clients, classes)."""
    counts: list[list[int]] = (record["population"].get("held_out") or {"counts": []})["counts"]
    return counts


def _scores(kind: _Kind, pairs: Sequence[Pair]) -> list[Scores | ReadError]:
    """One by one if they can't be read together, to find those that can't be read."""
    try:
        return list(_together(kind, pairs))
    except ReadError as error:
        return [error] if len(pairs) == 1 else [one for pair in pairs for one in _scores(kind, [pair])]


def _together(kind: _Kind, pairs: Sequence[Pair]) -> list[Scores]:
    texts = [text for _, summary in pairs for text in summary["correct"]]
    bits = read_bits(texts, kind.images * kind.labels, "correct")
    bits = bits.reshape(len(pairs), kind.models, kind.images, kind.labels)
    codes = _predictions(kind, pairs)
    faults = _label_faults(kind, pairs, bits) if codes is None else _class_faults(kind, codes, bits)
    right = bits.mean(axis=3) if kind.labels > 1 else bits[..., 0].astype(np.float64)
    counts = np.array([[*record["population"]["counts"], *_held_out(record)] for record, _ in pairs], np.float64)
    counts = counts.reshape(len(pairs), len(kind.rows) + kind.held_out, kind.classes)
    rarest = _rarest(counts[:, : len(kind.rows)])
    recalls = _sums(right, kind.groups) / kind.groups.some  # 0 without an image
    matrices, unseen = np.split(_matrices(kind, recalls, counts), [len(kind.rows)], axis=2)
    metrics, undefined = read_matrices(_expanded(kind, matrices))
    if kind.held_out:
        metrics["unseen"], undefined["unseen"] = means_of_defined(_expanded(kind, unseen).reshape(len(pairs), -1))
    for name, values in _by_model(kind, codes, right, recalls, rarest).items():
        means = means_of_defined(_expanded(kind, values))
        metrics[name], undefined["accuracy" if name == "global_accuracy" else name] = means
    return [
        Scores(
            primary="label" if kind.by_class else "local",
            matrix=matrices[at],
            metrics={**_absent(kind), **{name: own[at] for name, own in metrics.items()}, "n": _served(kind, record)},
            undefined={name: own[at] for name, own in undefined.items()},
            rarest_class=record["data"]["classes"][rarest[at]],
            fault=faults[at],
        )
        for at, (record, _) in enumerate(pairs)
    ]


def _expanded(kind: _Kind, values: Matrix) -> Matrix:
    """The values of each client's model (roles, clients, ...) from those of the models (roles, models, ...)."""
    rows = [-1 if row is None else row for row in kind.rows]
    undefined = np.full((len(values), 1, *values.shape[2:]), np.nan)
    clients: Matrix = np.concatenate([values, undefined], axis=1)[:, rows]
    return clients


def _served(kind: _Kind, record: Record) -> int:
    """The number of test images of the clients that have a model."""
    images = record["population"]["images"]["test"]
    return sum(count for count, row in zip(images, kind.rows, strict=True) if row is not None)


def _matrices(kind: _Kind, recalls: Matrix, counts: Matrix) -> Matrix:
    """The primary matrix of each role for all clients, (roles, models, clients). counts: (roles, clients, classes)."""
    known = kind.groups.known
    if kind.by_class:
        weights = counts.swapaxes(1, 2)
        return divided(recalls @ weights, (known @ weights)[:, None])
    matrices: Matrix = np.where(known > 0, recalls, np.nan)[..., : counts.shape[1]]
    return matrices


def _absent(kind: _Kind) -> dict[str, None]:
    """The scores that only runs of another kind have: of many clients, of clients held out, of ordinal classes."""
    return dict.fromkeys(["worst_decile", "unseen", *(["mae"] if kind.task != "ordinal" else [])])


def _by_model(
    kind: _Kind, codes: Codes | None, right: Matrix, recalls: Matrix, rarest: Sequence[int]
) -> dict[str, Matrix]:
    """Scores of each model on the whole test set, (roles, models) each. codes: the predicted classes, if recorded."""
    found = _by_correctness(kind, right, recalls, rarest)
    if codes is None or not kind.models:
        return found
    return found | scores_of_classes(codes, _truth(kind), kind.classes, rarest, ordinal=kind.task == "ordinal")


def _by_correctness(kind: _Kind, right: Matrix, recalls: Matrix, rarest: Sequence[int]) -> dict[str, Matrix]:
    """Scores that need no predictions, as `_by_model`."""
    whole = {"global_accuracy": right.sum(axis=2) / max(1, kind.images)} if kind.models else {}
    if not kind.by_class:
        return whole
    groups = kind.groups
    known = np.where(groups.known > 0, 1.0, np.nan)[rarest][:, None]
    of_rarest = {"rarest_recall": recalls[range(len(recalls)), :, rarest] * known}
    if not kind.models:
        return of_rarest
    balanced = {"balanced_accuracy": recalls.sum(axis=2) / groups.known.sum()}
    f1 = {"f1": _f1_of_two(recalls * groups.sizes, groups)} if len(groups.sizes) == _TWO else {}
    return {**whole, **of_rarest, **balanced, **f1}


def _f1_of_two(right: Matrix, groups: Groups) -> Matrix:
    """The mean F1 score over two classes of each model, (..., models): a wrong prediction is the other class.

    right: the number of correct predictions, (..., models, 2).
    """
    wrong = groups.sizes - right
    scores = divided(2 * right, 2 * right + wrong.sum(axis=-1, keepdims=True))
    sums = np.where(groups.known > 0, scores, 0.0).sum(axis=-1)
    return divided(sums, np.broadcast_to(groups.known.sum(), sums.shape))


def _rarest(counts: Matrix) -> list[int]:
    """For each role the class with the fewest training images among those that have any."""
    totals = counts.sum(axis=1)
    totals[totals == 0] = np.inf
    rarest: list[int] = totals.argmin(axis=1).tolist()
    return rarest


def _sums(right: Matrix, groups: Groups) -> Matrix:
    """The sum of correctness over the images of each group, (roles, models, kinds)."""
    models, kinds = right.shape[0] * right.shape[1], len(groups.sizes)
    places = groups.codes + np.arange(0, models * kinds, kinds)[:, None]
    sums = np.bincount(places.ravel(), weights=right.ravel(), minlength=models * kinds)
    return np.asarray(sums, np.float64).reshape(*right.shape[:2], kinds)


def _predictions(kind: _Kind, pairs: Sequence[Pair]) -> Codes | None:
    """The predicted classes, (roles, models, images); None if they are not recorded, or if an image has several."""
    if not kind.predicted or kind.task == "multi-label":
        return None
    texts = [text for _, summary in pairs for text in summary["predicted"]]
    codes: Codes = read_codes(texts, kind.images, kind.classes, "predicted")
    return codes.reshape(len(pairs), kind.models, kind.images)


def _class_faults(kind: _Kind, codes: Codes, right: Bits) -> list[str]:
    """How the predicted classes of each role contradict its correctness (roles, models, images, 1)."""
    odd = (codes == _truth(kind)) != right[..., 0]
    return ["predicted contradicts correct" if one else "" for one in odd.any(axis=(1, 2))]


def _label_faults(kind: _Kind, pairs: Sequence[Pair], right: Bits) -> list[str]:
    """As `_class_faults`, of the predicted labels of images with several (roles, models, images, labels)."""
    if not kind.predicted:
        return [""] * len(pairs)
    texts = [text for _, summary in pairs for text in summary["predicted"]]
    truths = read_bits(texts, kind.images * kind.labels, "predicted").reshape(right.shape) == right
    odd = (truths != truths[:, :1]).any(axis=(1, 2, 3))
    return ["predicted and correct give several labels to an image" if one else "" for one in odd]


def _truth(kind: _Kind) -> Codes:
    """The class of each test image, (images,)."""
    if kind.by_class:
        return kind.groups.codes
    if not kind.truth:
        raise ReadError("the record does not hold the classes of the test images")
    return np.asarray(read_codes([kind.truth], kind.images, kind.classes, "labels")[0])
