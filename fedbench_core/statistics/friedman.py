"""Comparison of entries over several datasets: mean ranks, Friedman's test and Nemenyi's critical difference.

The blocks of the test are the datasets; seeds and partitions of one dataset are not independent blocks.
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

MIN_DATASETS = 6
MIN_ENTRIES = 3
"""Friedman's test needs at least three entries."""
_DECIMALS = 9
"""Scores that are equal to so many decimals are tied."""


@dataclass(frozen=True)
class DatasetRanks:
    """Mean ranks over datasets (1 is best) and the result of Friedman's test.

    p: Friedman's test with Iman and Davenport's correction; critical_difference: Nemenyi's. Both are None without a
    test. significant: whether Friedman's test rejects; otherwise `why_not` gives the reason. datasets: how many were
    ranked; left_out: those without a score of every entry. by_dataset: ranks (datasets, entries).
    """

    ranks: dict[str, float]
    p: float | None
    critical_difference: float | None
    significant: bool
    why_not: str
    datasets: int
    left_out: tuple[str, ...]
    by_dataset: pd.DataFrame = field(repr=False, compare=False)


def dataset_means(scores_by_dataset: Iterable[tuple[str, Scores]]) -> pd.DataFrame:
    """The mean score of each entry (columns) on each dataset (index), over seeds first and then over partitions.

    scores_by_dataset: (dataset, scores) for every dataset and partition. Partitions differ in difficulty, so one that
    lacks an entry is ignored for all entries; a dataset without a complete partition is NaN.
    """
    rows = [
        {"dataset": dataset, **{entry: defined_mean(list(own.values()))[0] for entry, own in scores.items()}}
        for dataset, scores in scores_by_dataset
    ]
    table = pd.DataFrame(rows).set_index("dataset")
    complete = table.where(table.notna().all(axis=1))
    return complete.groupby(level="dataset", sort=False).mean()


def rank_over_datasets(scores: pd.DataFrame, *, more_is_better: bool = True) -> DatasetRanks:
    """Mean ranks of entries (columns) over datasets (index), with Friedman's test from 6 datasets and 3 entries on."""
    left_out = tuple(map(str, scores.index[scores.isna().any(axis=1)]))
    by_dataset = scores.dropna().round(_DECIMALS).rank(axis=1, ascending=not more_is_better)
    p, critical_difference, why_not = _friedman(by_dataset)
    return DatasetRanks(
        ranks={str(entry): float(rank) for entry, rank in by_dataset.mean().items()},
        p=p,
        critical_difference=critical_difference,
        significant=not why_not,
        why_not=why_not,
        datasets=len(by_dataset),
        left_out=left_out,
        by_dataset=by_dataset,
    )


def _friedman(by_dataset: pd.DataFrame) -> tuple[float | None, float | None, str]:
    """P and critical difference (None without a test), and why no ranks differ significantly (empty if some may)."""
    datasets, entries = by_dataset.shape
    if datasets < MIN_DATASETS or entries < MIN_ENTRIES:
        least = f"Friedman's test needs at least {MIN_DATASETS} and {MIN_ENTRIES}"
        return None, None, f"{datasets} datasets and {entries} entries; {least}"
    p = _iman_davenport(by_dataset)
    why_not = "" if p < LEVEL else f"Friedman's test is not significant (p = {p:.2g})"
    return p, _critical_difference(datasets, entries), why_not


def _iman_davenport(by_dataset: pd.DataFrame) -> float:
    """P of F = (N - 1) chi2 / (N (k - 1) - chi2), which is less conservative than Friedman's chi2 itself."""
    from scipy import stats  # noqa: PLC0415  # slow to import

    datasets, entries = by_dataset.shape
    if np.ptp(by_dataset.to_numpy(), axis=1).max() == 0:  # only ties, for which chi2 is 0 / 0
        return 1.0
    chi2 = stats.friedmanchisquare(*(column for _, column in by_dataset.items())).statistic
    rest = datasets * (entries - 1) - chi2
    ratio = (datasets - 1) * chi2 / rest if rest > 0 else math.inf  # all datasets agree
    return float(stats.f.sf(ratio, entries - 1, (entries - 1) * (datasets - 1)))


@lru_cache
def _critical_difference(datasets: int, entries: int) -> float:
    """q_alpha sqrt(k (k + 1) / 6 N), where q_alpha is the studentized range's quantile over sqrt(2)."""
    from scipy import stats  # noqa: PLC0415  # slow to import

    quantile = float(stats.studentized_range.isf(LEVEL, entries, np.inf)) / math.sqrt(2)
    return quantile * math.sqrt(entries * (entries + 1) / (6 * datasets))


def nemenyi(by_dataset: pd.DataFrame) -> pd.DataFrame:
    """p-values of Nemenyi's test, (entries, entries), from ranks (datasets, entries)."""
    from scikit_posthocs import posthoc_nemenyi_friedman  # noqa: PLC0415  # imports seaborn: half a second

    table: pd.DataFrame = posthoc_nemenyi_friedman(by_dataset)
    return table
