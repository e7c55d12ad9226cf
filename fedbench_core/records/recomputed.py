"""The scores of a record, computed from per-image correctness and the clients' training images."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from fedbench_core.federation.bits import Codes, bits_of_text, codes_of_text, floats_of_text
from fedbench_core.federation.matrix import Matrix, divided, expanded, mean_of_defined, read_matrix

Record = Mapping[str, Any]
_TWO = 2


class ReadError(Exception):
    """Per-image values that don't fit the number of images, clients or classes."""


@dataclass(frozen=True)
class Scores:
    """What follows from the predictions of a role: the primary matrix (models, clients), metrics, undefined values."""

    primary: str
    matrix: Matrix
    metrics: dict[str, float | int | None]
    undefined: dict[str, int]
    rarest_class: str


@dataclass(frozen=True)
class Groups:
    """The class or client of each test image, (images,), and the number of images of each, (kinds,)."""

    codes: Codes
    sizes: npt.NDArray[np.float64]

    @cached_property
    def known(self) -> npt.NDArray[np.float64]:
        """1 for a group with an image, 0 for others, (kinds,)."""
        return np.sign(self.sizes)

    @cached_property
    def some(self) -> npt.NDArray[np.float64]:
        """The sizes, with 1 for none, (kinds,)."""
        return np.maximum(self.sizes, 1)


def scores_of(record: Record, summary: Record) -> Scores:
    """The scores of one role; ReadError if its values don't fit the images, clients and classes."""
    groups, counts = groups_of(record), np.array(record["population"]["counts"], np.float64)
    rarest, by_class = _rarest(counts), record["test"]["groups"]["of"] == "class"
    right = _correctness(record, summary)
    recalls = _sums(right, groups) / groups.some  # 0 without an image, unlike a score
    held_out = record["population"].get("held_out")
    everyone = np.concatenate([counts, np.array(held_out["counts"], np.float64)]) if held_out else counts
    if by_class:
        scores = divided(recalls @ everyone.T, groups.known @ everyone.T)
    else:
        scores = np.where(groups.known > 0, recalls, np.nan)[:, : len(everyone)]
    matrix, unseen = scores[:, : len(counts)], scores[:, len(counts) :]
    rows: list[int | None] = summary["matrix"]["predictor_of_client"]
    metrics, undefined = read_matrix(expanded(matrix, rows))
    if held_out:
        metrics["unseen"], undefined["unseen"] = mean_of_defined(expanded(unseen, rows).ravel())
    if len(right):
        _add_mean(metrics, undefined, ("global_accuracy", "accuracy"), right.sum(axis=1) / right.shape[1], rows)
    if by_class:
        known = recalls[:, rarest] / groups.known[rarest] if groups.known[rarest] else np.full(len(right), np.nan)
        _add_mean(metrics, undefined, ("rarest_recall", "rarest_recall"), known, rows)
        if len(right):
            balanced = recalls.sum(axis=1) / groups.known.sum()
            _add_mean(metrics, undefined, ("balanced_accuracy", "balanced_accuracy"), balanced, rows)
            if len(groups.sizes) == _TWO:
                _add_mean(metrics, undefined, ("f1", "f1"), _f1_of_two(recalls * groups.sizes, groups), rows)
    served = zip(record["population"]["images"]["test"], rows, strict=True)
    return Scores(
        primary="label" if by_class else "local",
        matrix=matrix,
        metrics={**metrics, "n": sum(count for count, row in served if row is not None)},
        undefined=undefined,
        rarest_class=record["data"]["classes"][rarest],
    )


def _f1_of_two(right: Matrix, groups: Groups) -> Matrix:
    """The mean F1 score over two classes of each model, (models,): a wrong prediction is the other class.

    right: the number of correct predictions, (models, 2).
    """
    wrong = groups.sizes - right
    scores = divided(2 * right, 2 * right + wrong.sum(axis=1, keepdims=True))
    means: Matrix = divided(
        np.where(groups.known > 0, scores, 0.0).sum(axis=1), np.broadcast_to(groups.known.sum(), len(right))
    )
    return means


def _add_mean(
    metrics: dict[str, float | int | None],
    undefined: dict[str, int],
    names: tuple[str, str],
    values: Matrix,
    rows: Sequence[int | None],
) -> None:
    """Add the mean over clients of a value of each model, and the number of clients that have none."""
    metric, count = names
    own = values.tolist()
    metrics[metric], undefined[count] = mean_of_defined([None if row is None else own[row] for row in rows])


def _rarest(counts: Matrix) -> int:
    """The class with the fewest training images among those that have any."""
    totals = counts.sum(axis=0)
    return int(np.argmin(np.where(totals > 0, totals, np.inf)))


def _correctness(record: Record, summary: Record) -> Matrix:
    """Correctness of each model on each test image, 0 to 1, (models, images)."""
    data, clients = record["data"], record["population"]["clients"]
    images, labels = data["images"]["test"], len(data["classes"]) if data["task"] == "multi-label" else 1
    rows, texts = summary["matrix"]["predictor_of_client"], summary["correct"]
    if len(rows) != clients or {row for row in rows if row is not None} != set(range(len(texts))):
        raise ReadError(f"matrix.predictor_of_client names other models than the {len(texts)} in correct")
    for name in ("label", "local"):
        shape = [len(row) for row in summary["matrix"][name]]
        if shape != [clients] * len(texts):
            raise ReadError(f"matrix.{name} has rows of {shape} values; expected {clients} for each of {len(texts)}")
    bits = np.array([read_bits(text, images * labels, "correct") for text in texts], np.float64)
    return bits.reshape(len(texts), images, labels).mean(axis=2) if labels > 1 else bits.reshape(len(texts), images)


def _sums(right: Matrix, groups: Groups) -> Matrix:
    """The sum of correctness over the images of each group, (models, kinds)."""
    kinds = len(groups.sizes)
    return np.array([np.bincount(groups.codes, weights=row, minlength=kinds) for row in right]).reshape(-1, kinds)


def groups_of(record: Record) -> Groups:
    """The groups of a record's test images; ReadError if they don't fit its images, clients and classes."""
    coded, population = record["test"]["groups"], record["population"]
    held_out = population.get("held_out") or {"images": {"test": []}}
    own = (*population["images"]["test"], *held_out["images"]["test"])
    by_class = coded["of"] == "class"
    kinds = len(record["data"]["classes"]) if by_class else len(own) + 1
    if coded["kinds"] != kinds:
        raise ReadError(f"test.groups.kinds is {coded['kinds']}; expected {kinds}")
    return _groups(coded["images"], record["data"]["images"]["test"], kinds, None if by_class else own)


@lru_cache(maxsize=64)
def _groups(text: str, images: int, kinds: int, sizes: tuple[int, ...] | None) -> Groups:
    """Cached, because the records of a leaderboard have the same test images and groups."""
    places = max(1, (kinds - 1).bit_length())
    read_bits(text, images * places, "test.groups.images")
    codes = codes_of_text(text, images, kinds)
    if images and codes.max() >= kinds:
        raise ReadError(f"test.groups.images has a group {codes.max()}; expected less than {kinds}")
    found = np.bincount(codes, minlength=kinds)
    if sizes is not None and tuple(found[: len(sizes)].tolist()) != sizes:
        raise ReadError(f"test.groups.images gives the clients {found[: len(sizes)].tolist()} images; expected {sizes}")
    codes.flags.writeable = False
    return Groups(codes, found.astype(np.float64))


def read_codes(text: str, count: int, kinds: int, name: str) -> Codes:
    """The codes from 0 to kinds - 1 in a text, (count,); ReadError names it if it holds something else."""
    read_bits(text, count * max(1, (kinds - 1).bit_length()), name)
    codes = codes_of_text(text, count, kinds)
    if count and codes.max() >= kinds:
        raise ReadError(f"{name} has a class {codes.max()}; expected less than {kinds}")
    return codes


def read_bits(text: str, count: int, name: str) -> npt.NDArray[np.uint8]:
    """The bits of a text; ReadError names it if it has another number of them."""
    expected = 4 * math.ceil(math.ceil(count / 8) / 3)  # four characters for three bytes
    if len(text) != expected:
        raise ReadError(f"{name} has {len(text)} characters; expected {expected}, for {count} bits")
    try:
        return bits_of_text(text, count)
    except ValueError:
        raise ReadError(f"{name} is not the base64 text of {count} bits") from None


def read_floats(text: str, count: int, name: str) -> npt.NDArray[np.float64]:
    """The numbers in a text, (count,); ReadError names it if it holds something else."""
    try:
        found = floats_of_text(text)
    except ValueError:
        raise ReadError(f"{name} is not the base64 text of {count} numbers") from None
    if len(found) != count or not np.isfinite(found).all():
        raise ReadError(f"{name} holds {np.isfinite(found).sum()} numbers; expected {count}")
    return found
