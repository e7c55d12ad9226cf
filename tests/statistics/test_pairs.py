import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fedbench_core.statistics.pairs import compare, holm, smallest_claimable


def _leaderboard(**scores):
    """Scores by seed, the first being 0."""
    return {name: dict(enumerate(values)) for name, values in scores.items()}


def _only(scores):
    (pair,) = compare(scores)
    return pair


def test_a_pair_by_hand() -> None:
    """Differences 0.1, 0.2, 0.3: t = 0.2 / (0.1 / sqrt(3)); with two degrees p = 1 - t / sqrt(t^2 + 2)."""
    pair = _only(_leaderboard(one=[0.5, 0.7, 0.6], other=[0.4, 0.5, 0.3]))
    assert (pair.a, pair.b, pair.seeds, pair.left_out, pair.why_not) == ("one", "other", 3, 0, "")
    assert pair.difference == pytest.approx(0.2)
    assert (pair.low, pair.high) == pytest.approx((0.2 - 0.248414, 0.2 + 0.248414), abs=1e-6)
    assert pair.p == pair.p_holm == pytest.approx(1 - math.sqrt(12 / 14))
    assert not pair.significant


def test_all_pairs_in_their_order_and_holms_correction_by_hand() -> None:
    """The smallest p counts three times, the next twice, the largest once, and none less than one before it."""
    scores = _leaderboard(a=[0.60, 0.71, 0.82], b=[0.50, 0.60, 0.70], c=[0.2, 0.5, 0.5])
    pairs = compare(scores)
    assert [(pair.a, pair.b) for pair in pairs] == [("a", "b"), ("a", "c"), ("b", "c")]

    def alone(one, other):  # p of three seeds, as above
        t = np.subtract(one, other).mean() / (np.subtract(one, other).std(ddof=1) / math.sqrt(3))
        return 1 - t / math.sqrt(t * t + 2)

    values = [list(own.values()) for own in scores.values()]
    p = [alone(values[0], values[1]), alone(values[0], values[2]), alone(values[1], values[2])]
    assert p[0] < p[1] < p[2]
    assert [pair.p for pair in pairs] == pytest.approx(p)
    assert [pair.p_holm for pair in pairs] == pytest.approx([3 * p[0], 2 * p[1], max(2 * p[1], p[2])])
    assert [pair.significant for pair in pairs] == [True, False, False]


def test_a_single_entry_has_nobody_to_compare_with() -> None:
    assert compare(_leaderboard(alone=[0.5, 0.6])) == []
    assert compare({}) == []
    assert math.isnan(smallest_claimable(compare(_leaderboard(alone=[0.5, 0.6]))))


@pytest.mark.parametrize(
    "other",
    [
        [0.1, 0.2, 0.3, 0.4],  # the same
        [0.1 + 1e-10, 0.2 - 1e-10, 0.3, 0.4],  # the same, added in another order
        [0.2, 0.3, 0.4, 0.5],  # always 0.1 more: no spread
    ],
)
def test_differences_of_nothing_or_without_a_spread_have_p_1(other) -> None:
    pair = _only(_leaderboard(one=[0.1, 0.2, 0.3, 0.4], other=other))
    assert (pair.p, pair.p_holm, pair.significant, pair.why_not) == (1, 1, False, "")
    assert pair.difference == pytest.approx(0.1 - other[0], abs=1e-8)
    assert (pair.low, pair.high) == pytest.approx((pair.difference, pair.difference), abs=1e-8)


def test_a_pair_without_a_spread_leaves_the_others_as_they_are() -> None:
    with_twin = _leaderboard(a=[0.5, 0.6, 0.8], twin=[0.5, 0.6, 0.8], b=[0.4, 0.4, 0.4])
    first, second, third = compare(with_twin)
    assert first.p == 1
    assert second.p == third.p == _only(_leaderboard(a=[0.5, 0.6, 0.8], b=[0.4, 0.4, 0.4])).p


def test_unequal_seeds_are_not_tested_and_say_what_is_missing_where() -> None:
    pairs = compare(
        {"a": {0: 0.5, 1: 0.6, 2: 0.7, 9: 0.4}, "b": {0: 0.1, 1: 0.3, 2: 0.2}, "c": {0: 0.2, 1: 0.2, 2: 0.3}}
    )
    assert pairs[0].why_not == "b has no seed 9, so their seeds are not the same"
    assert pairs[1].why_not == "c has no seed 9, so their seeds are not the same"
    assert all(math.isnan(value) for value in (pairs[0].p, pairs[0].p_holm, pairs[0].low, pairs[0].high))
    assert pairs[0].difference == pytest.approx(0.4)  # over the seeds that both have
    assert not pairs[0].significant
    assert pairs[2].why_not == ""
    assert pairs[2].p_holm == pytest.approx(min(1, 3 * pairs[2].p))  # the others count in the family all the same


def test_seeds_that_both_lack_are_named_for_both() -> None:
    pair = _only({"a": {0: 0.5, 1: 0.6, 3: 0.1, 4: 0.2}, "b": {0: 0.1, 1: 0.3, 2: 0.2}})
    assert pair.why_not == "a has no seed 2 and b has no seed 3, 4, so their seeds are not the same"


def test_an_undefined_score_leaves_its_seed_out_of_its_own_pairs_only() -> None:
    whole = _leaderboard(a=[0.5, 0.6, 0.8, 0.7], b=[0.4, 0.4, 0.5, 0.3], c=[0.4, 0.1, 0.3, 0.2])
    holed = {**whole, "a": {**whole["a"], 3: None}, "c": {**whole["c"], 0: math.nan}}
    first, second, third = compare(holed)
    assert (first.seeds, first.left_out) == (3, 1)
    assert (second.seeds, second.left_out) == (2, 2)
    assert (third.seeds, third.left_out) == (3, 1)
    assert first.p == pytest.approx(_only(_leaderboard(a=[0.5, 0.6, 0.8], b=[0.4, 0.4, 0.5])).p)
    assert not any(pair.why_not for pair in (first, second, third))


@pytest.mark.parametrize(
    ("scores", "says"),
    [
        (_leaderboard(a=[0.5], b=[0.4]), "1 seed with a score of both; a test needs 2"),
        (_leaderboard(a=[0.5, None], b=[0.4, 0.3]), "1 seed with a score of both; a test needs 2"),
        (_leaderboard(a=[None, None], b=[0.4, 0.3]), "0 seeds with a score of both; a test needs 2"),
        ({"a": {}, "b": {}}, "0 seeds with a score of both; a test needs 2"),
    ],
)
def test_a_test_needs_two_seeds(scores, says) -> None:
    pair = _only(scores)
    assert pair.why_not == says
    assert math.isnan(pair.p)
    assert not pair.significant
    assert math.isnan(smallest_claimable([pair]))


@given(
    st.integers(2, 5).flatmap(
        lambda k: st.lists(st.lists(st.integers(0, 100), min_size=k, max_size=k), min_size=3, max_size=12)
    )
)
def test_each_pair_is_scipys_paired_test_and_mirrors_when_turned(rows) -> None:
    table = np.array(rows) / 100
    names = [f"entry {column}" for column in range(table.shape[1])]
    scores = {name: dict(enumerate(table[:, column].tolist())) for column, name in enumerate(names)}
    pairs, turned = compare(scores), compare(dict(reversed(scores.items())))
    mirrored = {(pair.b, pair.a): pair for pair in turned}
    for pair in pairs:
        one, other = (list(scores[name].values()) for name in (pair.a, pair.b))
        if np.ptp(np.subtract(one, other)) > 1e-9:
            expected = stats.ttest_rel(one, other)
            interval = expected.confidence_interval(0.95)
            assert pair.p == pytest.approx(expected.pvalue)
            assert (pair.low, pair.high) == pytest.approx((interval.low, interval.high))
        back = mirrored[pair.a, pair.b]
        assert (back.difference, back.low, back.high) == pytest.approx((-pair.difference, -pair.high, -pair.low))
        assert (back.p, back.p_holm, back.significant) == (
            pytest.approx(pair.p), pytest.approx(pair.p_holm), pair.significant
        )  # fmt: skip
        assert pair.significant == (pair.p_holm <= 0.05)


def test_seeds_may_come_in_any_order() -> None:
    one, other = {0: 0.5, 1: 0.7, 2: 0.6}, {0: 0.4, 1: 0.5, 2: 0.3}
    assert compare({"a": one, "b": other}) == compare({"a": one, "b": dict(reversed(other.items()))})


def test_holm_leaves_no_test_out_of_the_family() -> None:
    significant, corrected = holm(np.array([0.02, math.nan, 0.04]))
    assert significant.tolist() == [False, False, False]
    assert corrected.tolist() == pytest.approx([0.06, math.nan, 0.08], nan_ok=True)


def test_the_smallest_claimable_difference_is_just_claimed() -> None:
    """Among three entries, a mean difference above it is claimed, one below is not."""
    noise = np.array([0.01, -0.02, 0.02, -0.01, 0.03, -0.03])
    flat = np.zeros(6)
    least = smallest_claimable(compare(_leaderboard(a=flat.tolist(), b=noise.tolist(), c=(-noise).tolist())))
    error = noise.std(ddof=1) / math.sqrt(6)
    assert least == pytest.approx(stats.t.isf(0.05 / 6, 5) * error)

    def first(shift):
        noisy = 99 * np.array([1, 1, 1, -1, -1, -1])
        return compare(_leaderboard(a=(flat + shift).tolist(), b=noise.tolist(), c=noisy.tolist()))[0]

    assert first(1.01 * least).significant
    assert not first(0.99 * least).significant


def test_the_smallest_claimable_difference_is_at_the_median_spread_and_in_the_whole_family() -> None:
    """Five pairs spread by 1, 1, 2, 3 and 3; the twins don't, but theirs is one of six comparisons all the same."""
    noise = np.array([0.01, -0.02, 0.02, -0.01, 0.03, -0.03])
    flat = (0 * noise).tolist()
    pairs = compare(_leaderboard(a=flat, twin=flat, b=noise.tolist(), c=(3 * noise).tolist()))
    error = noise.std(ddof=1) / math.sqrt(6)
    assert smallest_claimable(pairs) == pytest.approx(stats.t.isf(0.05 / 2 / 6, 5) * 2 * error)
