"""The scores that follow from the cross-evaluation matrix. Needs no torch, so that records are checked quickly."""

from collections.abc import Sequence
from functools import lru_cache
from math import isnan

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
DECILE_FROM = 20


def expanded(matrix: Matrix, rows: Sequence[int | None]) -> Matrix:
    """The matrix with a row per client; undefined for a client without a model."""
    full = np.full((len(rows), matrix.shape[1]), np.nan)
    for client, row in enumerate(rows):
        if row is not None:
            full[client] = matrix[row]
    return full


def divided(sums: Matrix, weights: Matrix) -> Matrix:
    """Means from sums and weights, which are broadcast; undefined without a weight."""
    quotients = np.full(sums.shape, np.nan)
    np.divide(sums, weights, out=quotients, where=weights > 0)
    return quotients


def read_matrix(matrix: Matrix) -> tuple[dict[str, float | None], dict[str, int]]:
    """Personalization, generalization and the worst clients, off the full (clients, clients) matrix."""
    own = np.diag(matrix)
    others = matrix[_off_diagonal(len(matrix))]
    metrics: dict[str, float | None] = {}
    undefined: dict[str, int] = {}
    metrics["personalization"], undefined["personalization"] = mean_of_defined(own)
    metrics["generalization"], undefined["generalization"] = mean_of_defined(others)
    known = np.sort(own[~np.isnan(own)])
    metrics["worst_client"] = float(known[0]) if len(known) else None
    if len(own) >= DECILE_FROM and len(known):
        metrics["worst_decile"] = float(known[: max(1, len(known) // 10)].mean())
    return metrics, undefined


def read_matrices(matrices: Matrix) -> tuple[dict[str, list[float | None]], dict[str, list[int]]]:
    """As `read_matrix`, up to rounding, for many full matrices (runs, clients, clients): a value of each per run."""
    own, others = matrices.diagonal(axis1=1, axis2=2), matrices[:, _off_diagonal(matrices.shape[1])]
    metrics: dict[str, list[float | None]] = {}
    undefined: dict[str, list[int]] = {}
    for name, values in {"personalization": own, "generalization": others}.items():
        metrics[name], undefined[name] = means_of_defined(values)
    lowest = np.sort(own, axis=1)  # what is undefined comes last
    metrics["worst_client"] = plain(lowest[:, 0])
    clients = own.shape[1]
    if clients >= DECILE_FROM:
        known = clients - np.array(undefined["personalization"])
        tenths = np.arange(clients) < np.maximum(1, known // 10)[:, None]
        metrics["worst_decile"] = means_of_defined(np.where(tenths, lowest, np.nan))[0]
    return metrics, undefined


def means_of_defined(values: Matrix) -> tuple[list[float | None], list[int]]:
    """As `mean_of_defined`, up to rounding, of each row (rows, values)."""
    return plain(defined_means(values)), np.isnan(values).sum(axis=1).tolist()


def defined_means(values: Matrix) -> Matrix:
    """The means of what is defined along the last axis; undefined without any."""
    known = ~np.isnan(values)
    return divided(np.where(known, values, 0.0).sum(axis=-1), known.sum(axis=-1).astype(np.float64))


def plain(values: Matrix) -> list[float | None]:
    """Numbers, None for what is undefined."""
    return [None if isnan(value) else value for value in values.tolist()]


@lru_cache(maxsize=4)
def _off_diagonal(size: int) -> npt.NDArray[np.bool_]:
    mask = ~np.eye(size, dtype=bool)
    mask.flags.writeable = False
    return mask


def mean_of_defined(values: Sequence[float | None] | Matrix) -> tuple[float | None, int]:
    """The mean of what is defined, and how many were not."""
    given = np.array(values, np.float64)  # None becomes NaN
    known = given[~np.isnan(given)]
    return (float(np.add.reduce(known) / len(known)) if len(known) else None), len(given) - len(known)
