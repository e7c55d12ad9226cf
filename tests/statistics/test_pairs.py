import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fedbench_core.statistics.pairs import compare, holm, minimum_detectable_difference


def _leaderboard(**scores):
    """Scores by seed, the first being 0."""
    return {name: dict(enumerate(values)) for name, values in scores.items()}


def _only(scores):
    (pair,) = compare(scores)
    return pair


def test_pair_agrees_with_a_computation_by_hand() -> None:
    """Differences 0.1, 0.2, 0.3: t = 0.2 / (0.1 / sqrt(3)); with two degrees of freedom p = 1 - t / sqrt(t^2 + 2)."""
    pair = _only(_leaderboard(one=[0.5, 0.7, 0.6], other=[0.4, 0.5, 0.3]))
    assert (pair.a, pair.b, pair.seeds, pair.left_out, pair.why_not) == ("one", "other", 3, 0, "")
    assert pair.difference == pytest.approx(0.2)
    assert (pair.low, pair.high) == pytest.approx((0.2 - 0.248414, 0.2 + 0.248414), abs=1e-6)
    assert pair.p == pair.p_holm == pytest.approx(1 - math.sqrt(12 / 14))
    assert not pair.significant


def test_holms_correction_agrees_with_a_computation_by_hand() -> None:
    """The smallest p is multiplied by 3, the next by 2, the largest by 1, and none is less than the one before."""
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


def test_single_entry_has_no_pairs() -> None:
    assert compare(_leaderboard(alone=[0.5, 0.6])) == []
    assert compare({}) == []
    assert math.isnan(minimum_detectable_difference(compare(_leaderboard(alone=[0.5, 0.6]))))


@pytest.mark.parametrize(
    "other",
    [
        [0.1, 0.2, 0.3, 0.4],  # the same
        [0.1 + 1e-10, 0.2 - 1e-10, 0.3, 0.4],  # the same up to rounding
        [0.2, 0.3, 0.4, 0.5],  # a constant difference
    ],
)
def test_differences_that_are_zero_or_constant_have_p_1(other) -> None:
    pair = _only(_leaderboard(one=[0.1, 0.2, 0.3, 0.4], other=other))
    assert (pair.p, pair.p_holm, pair.significant, pair.why_not) == (1, 1, False, "")
    assert pair.difference == pytest.approx(0.1 - other[0], abs=1e-8)
    assert (pair.low, pair.high) == pytest.approx((pair.difference, pair.difference), abs=1e-8)


def test_pair_without_a_spread_does_not_change_other_pairs() -> None:
    with_twin = _leaderboard(a=[0.5, 0.6, 0.8], twin=[0.5, 0.6, 0.8], b=[0.4, 0.4, 0.4])
    first, second, third = compare(with_twin)
    assert first.p == 1
    assert second.p == third.p == _only(_leaderboard(a=[0.5, 0.6, 0.8], b=[0.4, 0.4, 0.4])).p


def test_pair_with_different_seeds_is_not_tested() -> None:
    pairs = compare(
        {"a": {0: 0.5, 1: 0.6, 2: 0.7, 9: 0.4}, "b": {0: 0.1, 1: 0.3, 2: 0.2}, "c": {0: 0.2, 1: 0.2, 2: 0.3}}
    )
    assert "b has no seed 9" in pairs[0].why_not
    assert "c has no seed 9" in pairs[1].why_not
    assert all(math.isnan(value) for value in (pairs[0].p, pairs[0].p_holm, pairs[0].low, pairs[0].high))
    assert pairs[0].difference == pytest.approx(0.4)  # over the seeds that both have
    assert not pairs[0].significant
    assert pairs[2].why_not == ""
    assert pairs[2].p_holm == pytest.approx(min(1, 3 * pairs[2].p))  # untested pairs count in the family


def test_seeds_that_are_missing_are_named_for_both_entries() -> None:
    pair = _only({"a": {0: 0.5, 1: 0.6, 3: 0.1, 4: 0.2}, "b": {0: 0.1, 1: 0.3, 2: 0.2}})
    assert "a has no seed 2 and b has no seed 3, 4" in pair.why_not


def test_undefined_score_leaves_its_seed_out_of_its_own_pairs_only() -> None:
    scores = _leaderboard(a=[0.5, 0.6, 0.8, 0.7], b=[0.4, 0.4, 0.5, 0.3], c=[0.4, 0.1, 0.3, 0.2])
    undefined = {**scores, "a": {**scores["a"], 3: None}, "c": {**scores["c"], 0: math.nan}}
    first, second, third = compare(undefined)
    assert (first.seeds, first.left_out) == (3, 1)
    assert (second.seeds, second.left_out) == (2, 2)
    assert (third.seeds, third.left_out) == (3, 1)
    assert first.p == pytest.approx(_only(_leaderboard(a=[0.5, 0.6, 0.8], b=[0.4, 0.4, 0.5])).p)
    assert not any(pair.why_not for pair in (first, second, third))


@pytest.mark.parametrize(
    ("scores", "seeds"),
    [
        (_leaderboard(a=[0.5], b=[0.4]), 1),
        (_leaderboard(a=[0.5, None], b=[0.4, 0.3]), 1),
        (_leaderboard(a=[None, None], b=[0.4, 0.3]), 0),
        ({"a": {}, "b": {}}, 0),
    ],
)
def test_test_requires_two_seeds(scores, seeds) -> None:
    pair = _only(scores)
    assert pair.seeds == seeds
    assert pair.why_not
    assert math.isnan(pair.p)
    assert not pair.significant
    assert math.isnan(minimum_detectable_difference([pair]))


@given(
    st.integers(2, 5).flatmap(
        lambda k: st.lists(st.lists(st.integers(0, 100), min_size=k, max_size=k), min_size=3, max_size=12)
    )
)
def test_pair_is_scipys_paired_test_and_changes_sign_when_swapped(rows) -> None:
    table = np.array(rows) / 100
    names = [f"entry {column}" for column in range(table.shape[1])]
    scores = {name: dict(enumerate(table[:, column].tolist())) for column, name in enumerate(names)}
    pairs, swapped = compare(scores), compare(dict(reversed(scores.items())))
    mirrored = {(pair.b, pair.a): pair for pair in swapped}
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


def test_order_of_seeds_does_not_matter() -> None:
    one, other = {0: 0.5, 1: 0.7, 2: 0.6}, {0: 0.4, 1: 0.5, 2: 0.3}
    assert compare({"a": one, "b": other}) == compare({"a": one, "b": dict(reversed(other.items()))})


def test_holm_counts_missing_tests() -> None:
    significant, corrected = holm(np.array([0.02, math.nan, 0.04]))
    assert significant.tolist() == [False, False, False]
    assert corrected.tolist() == pytest.approx([0.06, math.nan, 0.08], nan_ok=True)


def test_minimum_detectable_difference_is_found_with_a_probability_of_80_percent() -> None:
    """Three entries, eight seeds; the true difference is the one that is computed for the true spread."""
    rng = np.random.default_rng(0)
    error = math.sqrt(2 / 8)  # of a difference of two independent scores with variance 1
    least = error * (stats.t.isf(0.05 / 2 / 3, 7) + stats.t.isf(0.2, 7))
    drawn = rng.normal(size=(300, 3, 8)) + np.array([[least], [0], [least / 2]])
    leaderboards = [compare(_leaderboard(a=a, b=b, c=c)) for a, b, c in drawn.tolist()]
    assert 0.75 < np.mean([pairs[0].p < 0.05 / 3 for pairs in leaderboards]) < 0.85
    assert np.mean([minimum_detectable_difference(pairs) for pairs in leaderboards]) == pytest.approx(least, rel=0.05)


def test_minimum_detectable_difference_is_for_the_median_spread_and_all_pairs() -> None:
    """Five pairs have spreads of 1, 1, 2, 3 and 3; the twins have none, but count in the family of six."""
    noise = np.array([0.01, -0.02, 0.02, -0.01, 0.03, -0.03])
    flat = (0 * noise).tolist()
    pairs = compare(_leaderboard(a=flat, twin=flat, b=noise.tolist(), c=(3 * noise).tolist()))
    error = 2 * noise.std(ddof=1) / math.sqrt(6)
    expected = error * (stats.t.isf(0.05 / 2 / 6, 5) + stats.t.isf(0.2, 5))
    assert minimum_detectable_difference(pairs) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("p", "corrected"),
    [
        # 0.036 / 0.8, then 0.006 * 0.2 / 0.1 and 0.02, which are smaller
        ([0.036, 0.006, 0.02], [0.045, 0.045, 0.045]),
        # 0.006 / 0.1, then 0.02 * 0.9 / 0.1, then 0.2 * 0.8 / 0.8
        ([0.2, 0.006, 0.02], [0.2, 0.06, 0.18]),
    ],
)
def test_weighted_holm_agrees_with_a_computation_by_hand(p, corrected) -> None:
    assert holm(np.array(p), np.array([0.8, 0.1, 0.1]))[1].tolist() == pytest.approx(corrected)


def test_planned_pairs_have_four_fifths_of_the_level() -> None:
    scores = _leaderboard(a=[0.60, 0.71, 0.82], b=[0.50, 0.60, 0.70], c=[0.2, 0.5, 0.5])
    together, apart = compare(scores), compare(scores, planned={frozenset("ba")})
    assert [pair.planned for pair in apart] == [True, False, False]
    assert [pair.p for pair in apart] == [pair.p for pair in together]
    assert apart[0].p_holm == pytest.approx(apart[0].p / 0.8)
    assert apart[1].p_holm == pytest.approx(2 * apart[1].p)  # 0.2 of 0.1: of the pairs that are left
    assert minimum_detectable_difference(apart) > minimum_detectable_difference(together)
    assert compare(scores, planned={frozenset(pair) for pair in ("ab", "ac", "bc")})[0].p_holm == together[0].p_holm


def test_minimum_detectable_difference_is_that_of_the_planned_pairs_if_all_are() -> None:
    pairs = compare(_leaderboard(a=[0.5, 0.7, 0.6], b=[0.4, 0.5, 0.3]), planned={frozenset("ab")})
    assert minimum_detectable_difference(pairs) > 0


def test_skewness_is_scipys_and_zero_without_a_spread() -> None:
    one = [0.0] * 11 + [1.0]
    first, second, third = compare(_leaderboard(a=one, b=[0.0] * 12, c=[0.5] * 12))
    assert first.skewness == second.skewness == pytest.approx(stats.skew(one)) == pytest.approx(10 / math.sqrt(11))
    assert third.skewness == 0
