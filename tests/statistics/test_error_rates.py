"""Error rates and power of the whole procedure on simulated scores. Seeded, so that results are reproducible."""

import numpy as np
import pytest
from scipy import stats

from fedbench_core.statistics.bootstrap import compare_images, confirm, resample
from fedbench_core.statistics.pairs import compare

LEADERBOARDS = 200
BOUND = 21
"""The 99.9 % quantile of the number of false positives in 200 leaderboards at a true rate of 5 %."""


def _leaderboard(table):
    """Scores (seeds, entries) by entry and seed."""
    return {f"entry {i}": dict(enumerate(column)) for i, column in enumerate(np.transpose(table).tolist())}


def _normal(rng, seeds, entries):
    """An effect of the seed that entries share, and independent noise."""
    return 0.7 + 0.05 * rng.normal(size=(seeds, 1)) + 0.02 * rng.normal(size=(seeds, entries))


def _few_images(rng, seeds, entries):
    """Accuracies on 156 images: coarse and skewed."""
    return rng.binomial(156, np.clip(0.95 + 0.02 * rng.normal(size=(seeds, 1)), 0, 1), size=(seeds, entries)) / 156


def test_bound_is_the_quantile_at_a_rate_of_5_percent() -> None:
    assert stats.binom.ppf(0.999, LEADERBOARDS, 0.05) == BOUND


@pytest.mark.parametrize("draw", [_normal, _few_images])
@pytest.mark.parametrize("entries", [2, 7])
def test_equal_methods_differ_significantly_no_more_often_than_the_level_allows(draw, entries) -> None:
    """With seven entries any significant pair of a leaderboard counts: the family-wise error."""
    rng = np.random.default_rng(6)
    leaderboards = [compare(_leaderboard(draw(rng, 12, entries))) for _ in range(LEADERBOARDS)]
    false = sum(any(pair.significant for pair in pairs) for pairs in leaderboards)
    assert 0 < false <= BOUND


def test_same_scores_under_two_names_never_differ_significantly() -> None:
    rng = np.random.default_rng(6)
    for _ in range(20):
        table = _normal(rng, 12, 5)
        pairs = compare(_leaderboard(np.hstack([table, table[:, :1]])))
        assert not next(pair for pair in pairs if (pair.a, pair.b) == ("entry 0", "entry 5")).significant


@pytest.mark.parametrize(("entries", "seeds"), [(5, 10), (7, 12)])
@pytest.mark.parametrize("others", ["below", "between"])
def test_difference_of_one_and_a_half_standard_deviations_is_found(entries, seeds, others) -> None:
    """Paired differences have standard deviation 1; entry 0 is 1.5 better than entry 1, the others as 1 or halfway."""
    rng = np.random.default_rng(6)
    truth = np.full(entries, 0.0 if others == "below" else 0.75)
    truth[:2] = 1.5, 0.0
    noise = rng.normal(size=(LEADERBOARDS, seeds, entries)) / np.sqrt(2) + rng.normal(size=(LEADERBOARDS, seeds, 1))
    found = [compare(_leaderboard(truth + leaderboard))[0] for leaderboard in noise]
    assert sum(pair.significant and pair.difference > 0 for pair in found) >= 0.8 * LEADERBOARDS


def test_test_set_that_favors_a_method_by_chance_makes_no_winner() -> None:
    """Seven equal methods with errors that repeat over seeds: tests over seeds alone find winners."""
    rng = np.random.default_rng(6)
    drawn = resample(np.zeros(156, np.int64), rng, 1000)
    significant = {"seeds": 0, "both": 0}
    for _ in range(LEADERBOARDS):
        right = (rng.random((7, 1, 156)) < 0.8) ^ (rng.random((7, 12, 156)) < 0.02)
        scores = {f"entry {i}": dict(enumerate(own.mean(axis=1).tolist())) for i, own in enumerate(right)}
        images = {f"entry {i}": dict(enumerate(own / 156)) for i, own in enumerate(right)}
        pairs = compare(scores)
        significant["seeds"] += any(pair.significant for pair in pairs)
        significant["both"] += any(pair.significant for pair in confirm(pairs, compare_images(images, drawn)))
    assert significant["seeds"] > LEADERBOARDS / 2
    assert significant["both"] <= BOUND
