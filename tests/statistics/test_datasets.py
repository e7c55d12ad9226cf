import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from fedbench_core.statistics.datasets import across, blocks, nemenyi


def _table(rows, entries="abc"):
    return pd.DataFrame(rows, columns=list(entries), index=[f"dataset {i}" for i in range(len(rows))])


# Ranks: a five times 1 and a 2; b four times 2, a 1 and a 3; c five times 3 and a 2.
CLEAR = [[0.9, 0.8, 0.7]] * 4 + [[0.8, 0.9, 0.7], [0.9, 0.7, 0.8]]


def test_friedman_iman_davenport_and_nemenyi_by_hand() -> None:
    """Rank sums 7, 12, 17 of N = 6, k = 3: chi2 = 12 (49 + 144 + 289) / (6 x 3 x 4) - 3 x 6 x 4 = 8 1/3.

    F = 5 chi2 / (12 - chi2) = 125/11, of 2 and 10 degrees, whose p is (1 + F / 5)^-5. Nemenyi's quantile of three
    entries is 2.343: 2.343 sqrt(3 x 4 / 36).
    """
    found = across(_table(CLEAR))
    assert found.ranks == pytest.approx({"a": 7 / 6, "b": 2, "c": 17 / 6})
    assert found.p == pytest.approx((1 + 125 / 55) ** -5)
    assert found.critical_difference == pytest.approx(2.343 * math.sqrt(1 / 3), abs=1e-3)
    assert (found.claim, found.why_not, found.datasets, found.left_out) == (True, "", 6, ())
    p = nemenyi(found.placed)
    assert p.loc["a", "c"] < 0.05 < p.loc["a", "b"]
    assert list(p.columns) == list("abc")


@pytest.mark.parametrize(("entries", "quantile"), [(3, 2.343), (4, 2.569), (7, 2.949), (10, 3.164)])
def test_the_critical_difference_has_the_tabulated_quantiles(entries, quantile) -> None:
    table = _table(np.random.default_rng(0).random((8, entries)), "abcdefghij"[:entries])
    difference = across(table).critical_difference
    assert difference == pytest.approx(quantile * math.sqrt(entries * (entries + 1) / 48), abs=1e-3)


def test_the_corrected_test_agrees_with_the_analysis_of_variance_of_ranks() -> None:
    """Iman and Davenport's F is that of a two-way analysis of variance on ranks."""
    table = _table(np.random.default_rng(2).random((7, 4)), "abcd")
    ranks = table.rank(axis=1).to_numpy()
    between = 7 * ((ranks.mean(axis=0) - 2.5) ** 2).sum()
    rest = ((ranks - ranks.mean(axis=0)) ** 2).sum()
    assert across(table).p == pytest.approx(stats.f.sf((between / 3) / (rest / 18), 3, 18))


def test_datasets_that_all_agree_are_no_division_by_nought() -> None:
    found = across(_table([[0.9, 0.8, 0.7]] * 6))
    assert found.claim
    assert found.p == pytest.approx(0, abs=1e-12)


def test_entries_that_are_always_equal_are_tied_and_nothing_is_claimed() -> None:
    found = across(_table([[0.5, 0.5 + 1e-12, 0.5]] * 6))
    assert found.ranks == {"a": 2, "b": 2, "c": 2}
    assert (found.p, found.claim) == (1, False)
    assert found.why_not == "Friedman's test tells no entries apart (p = 1)"


def test_below_six_datasets_there_are_ranks_and_no_claim() -> None:
    found = across(_table(CLEAR[:5]))
    assert found.ranks == pytest.approx({"a": 6 / 5, "b": 9 / 5, "c": 3})
    assert (found.p, found.critical_difference, found.claim) == (None, None, False)
    assert found.why_not == "5 datasets and 3 entries; a claim over datasets needs at least 6 and 3"


def test_two_entries_are_too_few_for_a_test_of_ranks() -> None:
    found = across(_table([[0.9, 0.8]] * 8, "ab"))
    assert (found.claim, found.ranks) == (False, {"a": 1, "b": 2})
    assert "8 datasets and 2 entries" in found.why_not


def test_where_less_is_better_the_least_is_first() -> None:
    assert across(_table(CLEAR), more_is_better=False).ranks == pytest.approx({"a": 17 / 6, "b": 2, "c": 7 / 6})


def test_a_dataset_without_every_score_is_left_out_and_named() -> None:
    found = across(_table([*CLEAR, [0.9, math.nan, 0.1]]))
    assert (found.datasets, found.left_out) == (6, ("dataset 6",))
    assert found.ranks == across(_table(CLEAR)).ranks


def test_a_block_is_the_mean_over_seeds_and_then_over_partitions() -> None:
    leaderboards = [
        ("breast", {"a": {0: 0.1, 1: 0.3}, "b": {0: 0.5, 1: 0.7}}),
        ("breast", {"b": {0: 0.2}, "a": {0: 1.0}}),
        ("blood", {"a": {0: 0.4, 1: None}, "b": {0: math.nan, 1: 0.9}}),
    ]
    found = blocks(leaderboards)
    assert list(found.index) == ["breast", "blood"]
    assert found.loc["breast"].to_dict() == pytest.approx({"a": (0.2 + 1.0) / 2, "b": (0.6 + 0.2) / 2})
    assert found.loc["blood"].to_dict() == pytest.approx({"a": 0.4, "b": 0.9})


def test_a_partition_that_lacks_an_entry_counts_for_none() -> None:
    leaderboards = [
        ("breast", {"a": {0: 0.1}, "b": {0: 0.5}}),
        ("breast", {"a": {0: 0.9}}),
        ("blood", {"a": {0: 0.9}, "b": {0: None}}),
    ]
    found = blocks(leaderboards)
    assert found.loc["breast"].to_dict() == {"a": 0.1, "b": 0.5}
    assert found.loc["blood"].isna().all()
    assert across(found).left_out == ("blood",)
