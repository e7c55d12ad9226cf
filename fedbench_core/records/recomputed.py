"""The scores of a record, computed from per-image correctness and the clients' training images."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from fedbench_core.federation.bits import Codes, bits_of_text, codes_of_text
from fedbench_core.federation.matrix import Matrix, divided, expanded, mean_of_defined, read_matrix

Record = Mapping[str, Any]


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


def scores_of(record: Record, summary: Record) -> Scores:
    """The scores of one role; ReadError if its values don't fit the images, clients and classes."""
    data, population, rows = record["data"], record["population"], summary["matrix"]["predictor_of_client"]
    by_class = record["test"]["groups"]["of"] == "class"
    right, recalls = _correctness(record, summary)
    counts = np.array(population["counts"], np.float64)
    known = ~np.isnan(recalls)
    if by_class:
        matrix = divided(np.where(known, recalls, 0.0) @ counts.T, known.astype(np.float64) @ counts.T)
    else:
        matrix = recalls[:, : population["clients"]]
    metrics, undefined = read_matrix(expanded(matrix, rows))
    rarest = _rarest(counts)
    further = {"accuracy": right} if len(right) else {}
    if by_class:
        further["rarest_recall"] = recalls[:, rarest]
        if len(right):
            further["balanced_accuracy"] = np.where(known, recalls, 0.0).sum(axis=1) / known.sum(axis=1)
    for name, values in further.items():
        metrics["global_accuracy" if name == "accuracy" else name], undefined[name] = mean_of_defined(
            [np.nan if row is None else values[row] for row in rows]
        )
    own = population["images"]["test"]
    images = sum(count for count, row in zip(own, rows, strict=True) if row is not None)
    return Scores(
        primary="label" if by_class else "local",
        matrix=matrix,
        metrics={**metrics, "n": images},
        undefined=undefined,
        rarest_class=data["classes"][rarest],
    )


def _rarest(counts: Matrix) -> int:
    """The class with the fewest training images among those that have any."""
    totals = counts.sum(axis=0)
    return int(np.argmin(np.where(totals > 0, totals, np.inf)))


def _correctness(record: Record, summary: Record) -> tuple[npt.NDArray[np.float64], Matrix]:
    """The accuracy of each model (models,), and its recalls by group (models, kinds)."""
    data, clients = record["data"], record["population"]["clients"]
    images, labels = data["images"]["test"], len(data["classes"]) if data["task"] == "multi-label" else 1
    groups = groups_of(record)
    rows, texts = summary["matrix"]["predictor_of_client"], summary["correct"]
    if len(rows) != clients or {row for row in rows if row is not None} != set(range(len(texts))):
        raise ReadError(f"matrix.predictor_of_client names other models than the {len(texts)} in correct")
    for name in ("label", "local"):
        shape = [len(row) for row in summary["matrix"][name]]
        if shape != [clients] * len(texts):
            raise ReadError(f"matrix.{name} has rows of {shape} values; expected {clients} for each of {len(texts)}")
    if not texts:
        return np.empty(0), np.empty((0, len(groups.sizes)))
    bits = np.stack([read_bits(text, images * labels, "correct") for text in texts])
    right = bits.reshape(len(texts), images, labels).sum(axis=2, dtype=np.float64) / labels
    sums: Matrix = np.stack([np.bincount(groups.codes, weights=row, minlength=len(groups.sizes)) for row in right])
    return right.sum(axis=1) / images, divided(sums, np.broadcast_to(groups.sizes, sums.shape))


def groups_of(record: Record) -> Groups:
    """The groups of a record's test images; ReadError if they don't fit its images, clients and classes."""
    coded, own = record["test"]["groups"], tuple(record["population"]["images"]["test"])
    by_class = coded["of"] == "class"
    kinds = len(record["data"]["classes"]) if by_class else record["population"]["clients"] + 1
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


def read_bits(text: str, count: int, name: str) -> npt.NDArray[np.uint8]:
    """The bits of a text; ReadError names it if it has another number of them."""
    expected = 4 * math.ceil(math.ceil(count / 8) / 3)  # four characters for three bytes
    if len(text) != expected:
        raise ReadError(f"{name} has {len(text)} characters; expected {expected}, for {count} bits")
    try:
        return bits_of_text(text, count)
    except ValueError:
        raise ReadError(f"{name} is not the base64 text of {count} bits") from None
