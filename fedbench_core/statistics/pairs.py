"""Paired t-tests between all pairs of entries, over the seeds that both have."""

import gc
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from fedbench_core.statistics import LEVEL, TINY
from fedbench_core.statistics.intervals import Interval, mean_intervals

Scores = Mapping[str, Mapping[int, float | None]]
"""Entry -> seed -> score; an undefined score is None or NaN."""
_Floats = npt.NDArray[np.float64]
_MIN_SEEDS = 2


@dataclass(frozen=True)
class Difference:
    """The difference a - b with its 95 % interval. p: of this pair alone; p_holm: corrected over all pairs (Holm)."""

    a: str
    b: str
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    significant: bool


@dataclass(frozen=True)
class Pair(Difference):
    """The mean of the paired differences over seeds, and the result of the test.

    Without a test, bounds and p are NaN and `why_not` gives the reason. seeds: how many were compared;
    left_out: common seeds with an undefined score.
    """

    why_not: str
    seeds: int
    left_out: int


def compare(scores: Scores) -> list[Pair]:
    """Paired t-tests over seeds for all k(k-1)/2 pairs of entries, with Holm's correction over all of them.

    Scores are paired because equal seeds have equal splits, initial weights and batches. p is 1 where the scores
    differ by less than 1e-9 or the differences don't vary. A pair without a test counts in the family. All pairs are
    tested: comparing everything with the best entry would select the tests by their outcome.
    """
    names = list(combinations(scores, 2))
    if not names:
        return []
    one, other = _sides(scores)
    found = mean_intervals(one - other)
    why_not = [_why_not(scores, a, b, mean.count) for (a, b), mean in zip(names, found, strict=True)]
    p = _test(one, other, np.array([not reason for reason in why_not]))
    columns = zip(names, found, p, *holm(p), why_not, strict=True)
    return [
        _pair(a, b, mean, float(single), float(corrected), bool(significant), reason, scores)
        for (a, b), mean, single, significant, corrected, reason in columns
    ]


def holm(p: _Floats) -> tuple[npt.NDArray[np.bool_], _Floats]:
    """Which tests of a family reject, and Holm's corrected p-values; NaN (no test) counts as p = 1 and stays NaN."""
    from statsmodels.stats.multitest import multipletests  # noqa: PLC0415  # slow to import

    gc.freeze()  # multipletests calls gc.collect, which takes 50 ms or more
    try:
        significant, corrected, *_ = multipletests(np.where(np.isnan(p), 1.0, p), LEVEL, method="holm")
    finally:
        gc.unfreeze()
    return significant, np.where(np.isnan(p), np.nan, corrected)


def minimum_detectable_difference(pairs: Sequence[Pair]) -> float:
    """The smallest mean difference that is significant in the first step of Holm's correction.

    For the number of seeds and the spread of each pair, median over pairs; NaN if no pair has a spread.
    """
    from scipy import stats  # noqa: PLC0415  # slow to import

    varied = [pair for pair in pairs if pair.high - pair.low > TINY]
    if not varied:
        return math.nan
    reaches = np.array([pair.high - pair.low for pair in varied]) / 2
    freedom = np.array([pair.seeds - 1 for pair in varied])
    stricter = stats.t.isf(LEVEL / 2 / len(pairs), freedom) / stats.t.isf(LEVEL / 2, freedom)
    return float(np.median(reaches * stricter))


def _sides(scores: Scores) -> tuple[_Floats, _Floats]:
    """The scores of the first and the second entry of each pair, (seeds, pairs); NaN where missing or undefined."""
    seeds = sorted(set().union(*scores.values()))
    rows = [[own.get(seed) for own in scores.values()] for seed in seeds]
    table = np.array(rows, dtype=np.float64).reshape(len(seeds), len(scores))
    first, second = np.triu_indices(len(scores), 1)
    return table[:, first], table[:, second]


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


def _test(one: _Floats, other: _Floats, tested: npt.NDArray[np.bool_]) -> _Floats:
    """P of each pair; 1 if the differences are zero or constant, NaN without a test."""
    from scipy import stats  # noqa: PLC0415  # slow to import

    p = np.where(tested, 1.0, np.nan)
    if tested.any():
        differences = np.ma.masked_invalid(one - other)
        varied = tested & (np.ma.ptp(differences, axis=0).filled(0.0) >= TINY)
        p[varied] = stats.ttest_rel(one[:, varied], other[:, varied], nan_policy="omit").pvalue
    return p


def _pair(
    a: str, b: str, mean: Interval, p: float, p_holm: float, significant: bool, why_not: str, scores: Scores
) -> Pair:
    bounds = (math.nan, math.nan) if why_not else (mean.low, mean.high)
    left_out = len(scores[a].keys() & scores[b].keys()) - mean.count
    return Pair(a, b, mean.mean, *bounds, p, p_holm, significant, why_not, mean.count, left_out)
