"""Entries over several datasets. The block is the dataset: its seeds and partitions are no blocks of their own.

Source: Demšar, Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR 7 (2006), section 3.2.2.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import pandas as pd

from fedbench_core.statistics import LEVEL
from fedbench_core.statistics.intervals import defined_mean
from fedbench_core.statistics.pairs import Scores

FEWEST_DATASETS = 6
FEWEST_ENTRIES = 3
"""Friedman's test compares at least so many."""
_DECIMALS = 9
"""Scores that agree so far are tied: the same numbers, added in another order."""


@dataclass(frozen=True)
class Across:
    """Mean ranks over datasets (1 is best) and what may be said of them.

    p: of Friedman's test with Iman and Davenport's correction. critical_difference: from how far apart on two mean
    ranks differ. Both are None where there is no test. claim: whether ranks may be told apart at all; `why_not` says
    why they may not. left_out: datasets without a score of every entry. placed: ranks (datasets, entries).
    """

    ranks: dict[str, float]
    p: float | None
    critical_difference: float | None
    claim: bool
    why_not: str
    datasets: int
    left_out: tuple[str, ...]
    placed: pd.DataFrame = field(repr=False, compare=False)


def blocks(leaderboards: Iterable[tuple[str, Scores]]) -> pd.DataFrame:
    """The score of each entry (columns) on each dataset (index): means over seeds, and then over partitions.

    leaderboards: (dataset, scores) of every dataset and partition. Where a partition lacks an entry it counts for none,
    because partitions differ in difficulty; a dataset without any whole partition is NaN.
    """
    rows = [
        {"dataset": dataset, **{entry: defined_mean(list(own.values()))[0] for entry, own in scores.items()}}
        for dataset, scores in leaderboards
    ]
    table = pd.DataFrame(rows).set_index("dataset")
    whole = table.where(table.notna().all(axis=1))
    return whole.groupby(level="dataset", sort=False).mean()


def across(scores: pd.DataFrame, *, more_is_better: bool = True) -> Across:
    """Friedman's test over datasets (index) of entries (columns), Nemenyi's critical difference; from 6 datasets on.

    Datasets without a score of every entry are left out, and named.
    """
    whole = scores.dropna()
    left_out = tuple(map(str, scores.index[scores.isna().any(axis=1)]))
    placed = whole.round(_DECIMALS).rank(axis=1, ascending=not more_is_better)
    ranks = {str(entry): float(rank) for entry, rank in placed.mean().items()}
    datasets, entries = placed.shape
    if datasets < FEWEST_DATASETS or entries < FEWEST_ENTRIES:
        why_not = (
            f"{datasets} datasets and {entries} entries; a claim over datasets needs at least "
            f"{FEWEST_DATASETS} and {FEWEST_ENTRIES}"
        )
        return Across(
            ranks, None, None, claim=False, why_not=why_not, datasets=datasets, left_out=left_out, placed=placed
        )
    p = _iman_davenport(placed)
    why_not = "" if p < LEVEL else f"Friedman's test tells no entries apart (p = {p:.2g})"
    return Across(ranks, p, _critical_difference(datasets, entries), not why_not, why_not, datasets, left_out, placed)


def _iman_davenport(placed: pd.DataFrame) -> float:
    """The p of Friedman's test by F = (N - 1) chi2 / (N (k - 1) - chi2), which is less timid than chi2 itself."""
    from scipy import stats  # noqa: PLC0415  # slow to import, and most commands need no statistics

    datasets, entries = placed.shape
    if np.ptp(placed.to_numpy(), axis=1).max() == 0:  # nothing but ties, of which chi2 is 0 / 0
        return 1.0
    chi2 = stats.friedmanchisquare(*(column for _, column in placed.items())).statistic
    left = datasets * (entries - 1) - chi2
    ratio = (datasets - 1) * chi2 / left if left > 0 else math.inf  # all datasets agree
    return float(stats.f.sf(ratio, entries - 1, (entries - 1) * (datasets - 1)))


@lru_cache
def _critical_difference(datasets: int, entries: int) -> float:
    """q_alpha sqrt(k (k + 1) / 6 N), where q_alpha is a studentised range's quantile over the root of 2."""
    from scipy import stats  # noqa: PLC0415  # slow to import, and most commands need no statistics

    quantile = float(stats.studentized_range.isf(LEVEL, entries, np.inf)) / math.sqrt(2)
    return quantile * math.sqrt(entries * (entries + 1) / (6 * datasets))


def nemenyi(placed: pd.DataFrame) -> pd.DataFrame:
    """The p-values of Nemenyi's test for all pairs, (entries, entries), of ranks (datasets, entries)."""
    from scikit_posthocs import posthoc_nemenyi_friedman  # noqa: PLC0415  # brings seaborn along

    table: pd.DataFrame = posthoc_nemenyi_friedman(placed)
    return table
