import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from fedbench_core.statistics.friedman import dataset_means, nemenyi, rank_over_datasets


def _table(rows, entries="abc"):
    return pd.DataFrame(rows, columns=list(entries), index=[f"dataset {i}" for i in range(len(rows))])


# Ranks: a 1, 1, 1, 1, 2, 1; b 2, 2, 2, 2, 1, 3; c 3, 3, 3, 3, 3, 2.
CLEAR = [[0.9, 0.8, 0.7]] * 4 + [[0.8, 0.9, 0.7], [0.9, 0.7, 0.8]]


def test_friedman_iman_davenport_and_nemenyi_agree_with_a_computation_by_hand() -> None:
    """Rank sums 7, 12, 17 of N = 6, k = 3: chi2 = 12 (49 + 144 + 289) / (6 x 3 x 4) - 3 x 6 x 4 = 8 1/3.

    F = 5 chi2 / (12 - chi2) = 125/11 with 2 and 10 degrees of freedom has p = (1 + F / 5)^-5. Nemenyi's quantile for
    three entries is 2.343: 2.343 sqrt(3 x 4 / 36).
    """
    found = rank_over_datasets(_table(CLEAR))
    assert found.ranks == pytest.approx({"a": 7 / 6, "b": 2, "c": 17 / 6})
    assert found.p == pytest.approx((1 + 125 / 55) ** -5)
    assert found.critical_difference == pytest.approx(2.343 * math.sqrt(1 / 3), abs=1e-3)
    assert (found.significant, found.why_not, found.datasets, found.left_out) == (True, "", 6, ())
    p = nemenyi(found.by_dataset)
    assert p.loc["a", "c"] < 0.05 < p.loc["a", "b"]
    assert list(p.columns) == list("abc")


@pytest.mark.parametrize(("entries", "quantile"), [(3, 2.343), (4, 2.569), (7, 2.949), (10, 3.164)])
def test_critical_difference_has_the_tabulated_quantiles(entries, quantile) -> None:
    table = _table(np.random.default_rng(0).random((8, entries)), "abcdefghij"[:entries])
    difference = rank_over_datasets(table).critical_difference
    assert difference == pytest.approx(quantile * math.sqrt(entries * (entries + 1) / 48), abs=1e-3)


def test_iman_davenport_is_an_analysis_of_variance_of_ranks() -> None:
    table = _table(np.random.default_rng(2).random((7, 4)), "abcd")
    ranks = table.rank(axis=1).to_numpy()
    between = 7 * ((ranks.mean(axis=0) - 2.5) ** 2).sum()
    rest = ((ranks - ranks.mean(axis=0)) ** 2).sum()
    assert rank_over_datasets(table).p == pytest.approx(stats.f.sf((between / 3) / (rest / 18), 3, 18))


def test_datasets_that_all_agree_have_p_0() -> None:
    found = rank_over_datasets(_table([[0.9, 0.8, 0.7]] * 6))
    assert found.significant
    assert found.p == pytest.approx(0, abs=1e-12)


def test_entries_with_equal_scores_are_tied_and_not_significant() -> None:
    found = rank_over_datasets(_table([[0.5, 0.5 + 1e-12, 0.5]] * 6))
    assert found.ranks == {"a": 2, "b": 2, "c": 2}
    assert (found.p, found.significant) == (1, False)
    assert "p = 1" in found.why_not


def test_fewer_than_six_datasets_have_ranks_but_no_test() -> None:
    found = rank_over_datasets(_table(CLEAR[:5]))
    assert found.ranks == pytest.approx({"a": 6 / 5, "b": 9 / 5, "c": 3})
    assert (found.p, found.critical_difference, found.significant) == (None, None, False)
    assert found.why_not.startswith("5 datasets and 3 entries")


def test_two_entries_have_ranks_but_no_test() -> None:
    found = rank_over_datasets(_table([[0.9, 0.8]] * 8, "ab"))
    assert (found.significant, found.ranks) == (False, {"a": 1, "b": 2})
    assert "8 datasets and 2 entries" in found.why_not


def test_least_is_first_where_less_is_better() -> None:
    assert rank_over_datasets(_table(CLEAR), more_is_better=False).ranks == pytest.approx(
        {"a": 17 / 6, "b": 2, "c": 7 / 6}
    )


def test_dataset_without_all_scores_is_left_out_and_named() -> None:
    found = rank_over_datasets(_table([*CLEAR, [0.9, math.nan, 0.1]]))
    assert (found.datasets, found.left_out) == (6, ("dataset 6",))
    assert found.ranks == rank_over_datasets(_table(CLEAR)).ranks


def test_dataset_mean_is_over_seeds_and_then_over_partitions() -> None:
    scores = [
        ("breast", {"a": {0: 0.1, 1: 0.3}, "b": {0: 0.5, 1: 0.7}}),
        ("breast", {"b": {0: 0.2}, "a": {0: 1.0}}),
        ("blood", {"a": {0: 0.4, 1: None}, "b": {0: math.nan, 1: 0.9}}),
    ]
    found = dataset_means(scores)
    assert list(found.index) == ["breast", "blood"]
    assert found.loc["breast"].to_dict() == pytest.approx({"a": (0.2 + 1.0) / 2, "b": (0.6 + 0.2) / 2})
    assert found.loc["blood"].to_dict() == pytest.approx({"a": 0.4, "b": 0.9})


def test_partition_that_lacks_an_entry_is_ignored() -> None:
    scores = [
        ("breast", {"a": {0: 0.1}, "b": {0: 0.5}}),
        ("breast", {"a": {0: 0.9}}),
        ("blood", {"a": {0: 0.9}, "b": {0: None}}),
    ]
    found = dataset_means(scores)
    assert found.loc["breast"].to_dict() == {"a": 0.1, "b": 0.5}
    assert found.loc["blood"].isna().all()
    assert rank_over_datasets(found).left_out == ("blood",)
