"""Paired tests between all pairs of entries, over the seeds that both have and over the test images."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from fedbench_core.statistics import LEVEL, PLANNED, TINY
from fedbench_core.statistics.image_variance import ImageScores, image_variances

Scores = Mapping[str, Mapping[int, float | None]]
"""Entry -> seed -> score; an undefined score is None or NaN."""
POWER = 0.8
"""The probability with which a minimum detectable difference is found."""
STRONG_SKEW = 2.0
"""Skewness from which the t-test is doubtful: one of 12 seeds far from the others has 3.0."""
_Floats = npt.NDArray[np.float64]
_MIN_SEEDS = 2


@dataclass(frozen=True)
class Pair:
    """The mean of the paired differences a - b over seeds with its 95 % interval, and the result of the test.

    p: of this pair alone; p_holm: corrected over all pairs (Holm). skewness: of the differences over seeds. Without a
    test, bounds and p are NaN and `why_not` gives the reason. seeds: how many were compared; left_out: common seeds
    with an undefined score.
    """

    a: str
    b: str
    difference: float
    standard_error: float
    degrees_of_freedom: float
    low: float
    high: float
    p: float
    p_holm: float
    significant: bool
    planned: bool
    skewness: float
    why_not: str
    seeds: int
    left_out: int

    def ordered(self, *, more_is_better: bool) -> tuple[str, str]:
        """The entry with the better mean, and the other."""
        return (self.a, self.b) if (self.difference > 0) == more_is_better else (self.b, self.a)


def compare(
    scores: Scores, images: ImageScores | None = None, planned: Collection[frozenset[str]] = frozenset()
) -> list[Pair]:
    """Paired t-tests for all k(k-1)/2 pairs of entries, with Holm's correction over all of them.

    Scores are paired because equal seeds have equal splits, initial weights and batches. With `images` the variance
    includes the sample of test images, with Satterthwaite's degrees of freedom. planned: pairs that share `PLANNED` of
    the level, if there are others, which share the rest. p is 1 where the scores differ by less than 1e-9 or the
    differences don't vary. A pair without a test counts in the correction. All pairs are tested: comparing everything
    with the best entry would select the tests by their outcome.
    """
    names = list(combinations(scores, 2))
    if not names:
        return []
    differences = _differences(scores)
    counts = differences.count(axis=0)
    why_not = [_why_not(scores, a, b, int(count)) for (a, b), count in zip(names, counts, strict=True)]
    variances, freedom = _variances(differences, images, list(scores))
    columns: dict[str, Sequence[object]] = {
        "a": [a for a, _ in names],
        "b": [b for _, b in names],
        "why_not": why_not,
        "planned": [frozenset(pair) in planned for pair in names],
        "seeds": counts.tolist(),
        "left_out": [
            len(scores[a].keys() & scores[b].keys()) - int(n) for (a, b), n in zip(names, counts, strict=True)
        ],
        "skewness": _skewness(differences).tolist(),
    }
    difference, error = differences.mean(axis=0).filled(np.nan), np.where(why_not, np.nan, np.sqrt(variances))
    columns |= _tests(difference, error, freedom, np.array(columns["planned"]))
    return [Pair(**dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]


def _tests(
    difference: _Floats, error: _Floats, freedom: _Floats, planned: npt.NDArray[np.bool_]
) -> dict[str, Sequence[object]]:
    """The columns of the tests: interval, p, corrected p and significance."""
    from scipy.special import stdtr, stdtrit  # noqa: PLC0415  # slow to import, though not as slow as scipy.stats

    varied = (error > TINY) & (np.abs(difference) >= TINY)
    p = np.where(np.isnan(error), np.nan, 1.0)
    p[varied] = 2 * stdtr(freedom[varied], -np.abs(difference[varied]) / error[varied])
    reach = -stdtrit(freedom, LEVEL / 2) * error
    significant, corrected = holm(p, _weights(planned))
    found = {
        "difference": difference,
        "standard_error": error,
        "degrees_of_freedom": freedom,
        "low": difference - reach,
        "high": difference + reach,
        "p": p,
        "p_holm": corrected,
        "significant": significant,
    }
    return {name: values.tolist() for name, values in found.items()}


def holm(p: _Floats, weights: _Floats | None = None) -> tuple[npt.NDArray[np.bool_], _Floats]:
    """Which tests reject at a family-wise error rate of 5 %, and their corrected p-values.

    weights: the share of each test in the level, in any unit; equal by default. In the order of p / weight, each p is
    multiplied by the sum of the weights from there on over its own, and is at least the one before it, and at most 1.
    NaN (no test) counts as p = 1 and stays NaN.
    Source: Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6 (1979), section 4.
    """
    known = np.where(np.isnan(p), 1.0, p)
    weights = np.ones_like(known) if weights is None else weights
    order = np.argsort(known / weights, kind="stable")
    left = np.cumsum(weights[order][::-1])[::-1]
    corrected = np.empty_like(known)
    corrected[order] = np.minimum(np.maximum.accumulate(known[order] * left / weights[order]), 1.0)
    return corrected <= LEVEL, np.where(np.isnan(p), np.nan, corrected)


def _weights(planned: npt.NDArray[np.bool_]) -> _Floats:
    """The share of each pair in the level."""
    number = int(planned.sum())
    if number in (0, len(planned)):
        return np.full(len(planned), 1 / max(1, len(planned)))
    return np.where(planned, PLANNED / number, (1 - PLANNED) / (len(planned) - number))


def minimum_detectable_difference(pairs: Sequence[Pair]) -> float:
    """The true difference that the first step of Holm's correction finds with a probability of 80 %.

    For the standard error of each pair, median over the pairs that are not planned (over all, if all are); NaN if no
    pair has a spread.
    """
    from scipy.special import stdtrit  # noqa: PLC0415  # as above

    shares = _weights(np.array([pair.planned for pair in pairs], dtype=np.bool_))
    others = any(not pair.planned for pair in pairs)
    varied = [pair for pair in pairs if pair.standard_error > TINY and pair.planned != others]
    if not varied:
        return math.nan
    errors = np.array([pair.standard_error for pair in varied])
    freedom = np.array([pair.degrees_of_freedom for pair in varied])
    level = LEVEL / 2 * shares[pairs.index(varied[0])]
    return float(np.median(-errors * (stdtrit(freedom, level) + stdtrit(freedom, 1 - POWER))))


def _differences(scores: Scores) -> np.ma.MaskedArray:
    """The differences of each pair, (seeds, pairs), masked where a score is missing or undefined."""
    seeds = sorted(set().union(*scores.values())) or [0]
    rows = [[own.get(seed) for own in scores.values()] for seed in seeds]
    table = np.array(rows, dtype=np.float64).reshape(len(seeds), len(scores))
    first, second = np.triu_indices(len(scores), 1)
    return np.ma.masked_invalid(table[:, first] - table[:, second])


def _variances(
    differences: np.ma.MaskedArray, images: ImageScores | None, names: Sequence[str]
) -> tuple[_Floats, _Floats]:
    """The variance of the mean of each pair's differences, and its degrees of freedom (Satterthwaite), (pairs,).

    An estimate of what images add beyond the interaction may be negative; it then counts as zero.
    """
    counts = np.maximum(differences.count(axis=0), 1)
    by_seeds = differences.var(axis=0, ddof=1).filled(np.nan) / counts
    freedom = np.maximum(counts - 1, 1).astype(np.float64)
    if images is None:
        return by_seeds, freedom
    by_images, interaction = image_variances(images, names)
    adds = by_images > interaction
    total = by_seeds + np.where(adds, by_images - interaction, 0.0)
    of_images = images.degrees_of_freedom
    spread = by_seeds**2 / freedom + by_images**2 / of_images + interaction**2 / (freedom * of_images)
    with np.errstate(divide="ignore", invalid="ignore"):
        return total, np.where(adds, total**2 / spread, freedom)


def _skewness(differences: np.ma.MaskedArray) -> _Floats:
    """The skewness of each pair's differences over seeds, 0 where they don't vary, (pairs,)."""
    deviations = differences - differences.mean(axis=0)
    spread = np.maximum(differences.std(axis=0).filled(0.0), TINY)
    return np.asarray(((deviations / spread) ** 3).mean(axis=0).filled(0.0))


def _why_not(scores: Scores, a: str, b: str, seeds: int) -> str:
    """Why a pair has no test; empty if it has one."""
    missing = [
        f"{name} has no seed {', '.join(map(str, sorted(lost)))}"
        for name, lost in ((a, scores[b].keys() - scores[a].keys()), (b, scores[a].keys() - scores[b].keys()))
        if lost
    ]
    if missing:
        return f"seeds differ: {' and '.join(missing)}"
    if seeds < _MIN_SEEDS:
        return f"{seeds} seed{'s' if seeds != 1 else ''} with both scores defined; a test needs {_MIN_SEEDS}"
    return ""
