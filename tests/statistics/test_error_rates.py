"""Error rates and power of the whole procedure on simulated scores. Seeded, so that results are reproducible."""

import numpy as np
import pytest
from scipy import stats

from fedbench_core.statistics.image_variance import ImageScores
from fedbench_core.statistics.pairs import STRONG_SKEW, compare

LEADERBOARDS = 400
BOUND = 35
"""The 99.9 % quantile of the number of false positives in 400 leaderboards at a true rate of 5 %."""


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


PLANNED = {frozenset((f"entry {at}", f"entry {at + 1}")) for at in (1, 3, 5)}


@pytest.mark.parametrize("draw", [_normal, pytest.param(_few_images, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("entries", "planned"),
    [pytest.param(2, (), marks=pytest.mark.slow), (7, ()), (7, PLANNED)],
    ids=["two", "seven", "seven, three planned"],
)
def test_equal_methods_differ_significantly_no_more_often_than_the_level_allows(draw, entries, planned) -> None:
    """With seven entries any significant pair of a leaderboard counts, planned or not: the family-wise error."""
    rng = np.random.default_rng(6)
    leaderboards = [compare(_leaderboard(draw(rng, 12, entries)), None, planned) for _ in range(LEADERBOARDS)]
    false = sum(any(pair.significant for pair in pairs) for pairs in leaderboards)
    assert 0 < false <= BOUND


def test_same_scores_under_two_names_never_differ_significantly() -> None:
    rng = np.random.default_rng(6)
    for _ in range(20):
        table = _normal(rng, 12, 5)
        pairs = compare(_leaderboard(np.hstack([table, table[:, :1]])))
        assert not next(pair for pair in pairs if (pair.a, pair.b) == ("entry 0", "entry 5")).significant


@pytest.mark.parametrize(("entries", "seeds"), [(5, 10), pytest.param(7, 12, marks=pytest.mark.slow)])
@pytest.mark.parametrize("others", [pytest.param("below", marks=pytest.mark.slow), "between"])
def test_difference_of_one_and_a_half_standard_deviations_is_found(entries, seeds, others) -> None:
    """Paired differences have standard deviation 1; entry 0 is 1.5 better than entry 1, the others as 1 or halfway."""
    rng = np.random.default_rng(6)
    truth = np.full(entries, 0.0 if others == "below" else 0.75)
    truth[:2] = 1.5, 0.0
    noise = rng.normal(size=(LEADERBOARDS, seeds, entries)) / np.sqrt(2) + rng.normal(size=(LEADERBOARDS, seeds, 1))
    found = [compare(_leaderboard(truth + leaderboard))[0] for leaderboard in noise]
    assert sum(pair.significant and pair.difference > 0 for pair in found) >= 0.8 * LEADERBOARDS


@pytest.mark.parametrize("ratio", [1, *(pytest.param(ratio, marks=pytest.mark.slow) for ratio in (0, 0.5, 2, 8))])
def test_equal_methods_differ_no_more_often_whatever_part_of_the_variance_is_of_images(ratio) -> None:
    """Seven entries, 12 seeds; ratio: of the standard deviations of a mean that images and seeds cause."""
    rng = np.random.default_rng(6)
    significant = {"seeds": 0, "both": 0}
    for _ in range(LEADERBOARDS):
        scores, images = _boards_with_images(rng, ratio)
        significant["seeds"] += any(pair.significant for pair in compare(scores))
        significant["both"] += any(pair.significant for pair in compare(scores, images))
    assert 0 < significant["both"] <= BOUND
    assert ratio < 1 or significant["seeds"] > 2 * BOUND, "tests over seeds alone find winners"


def _boards_with_images(rng, ratio, entries=7, seeds=12, images=100):
    drawn = rng.normal(size=(entries, seeds, 1)) / images
    drawn = drawn + ratio * rng.normal(size=(entries, 1, images)) / np.sqrt(seeds * images)
    drawn = drawn + 0.5 * rng.normal(size=(entries, seeds, images)) / np.sqrt(images)
    by_entry = {f"entry {i}": dict(enumerate(own)) for i, own in enumerate(drawn)}
    sums = _leaderboard(drawn.sum(axis=2).T)
    return sums, ImageScores(by_entry, np.zeros(images, np.int64))


def test_predictions_of_images_that_favor_a_method_by_chance_make_no_winner() -> None:
    """Seven equal methods with errors that repeat over seeds."""
    rng = np.random.default_rng(6)
    false = 0
    for _ in range(LEADERBOARDS):
        right = (rng.random((7, 1, 156)) < 0.8) ^ (rng.random((7, 12, 156)) < 0.02)
        by_entry = {f"entry {i}": dict(enumerate(own / 156)) for i, own in enumerate(right)}
        images = ImageScores(by_entry, np.zeros(156, np.int64))
        false += any(pair.significant for pair in compare(_leaderboard(right.mean(axis=2).T), images))
    assert false <= BOUND


def _heavy_tails(rng, seeds, entries):
    return rng.standard_t(3, size=(seeds, entries))


def _unequal_variances(rng, seeds, entries):
    return rng.normal(size=(seeds, entries)) * np.geomspace(1, 10, entries)


def _collapse(rng, seeds, entries):
    """Entry 0 fails in at least one run, in each with a probability of 8 %, and has the same mean as the others."""
    scores, failed = rng.normal(size=(seeds, entries)), np.zeros(seeds, bool)
    while not failed.any():
        failed = rng.random(seeds) < COLLAPSES
    scores[:, 0] += DEPTH * (COLLAPSES - failed)
    return scores


COLLAPSES, DEPTH = 0.08, 10


@pytest.mark.parametrize(
    "draw", [pytest.param(draw, marks=pytest.mark.slow) for draw in (_heavy_tails, _unequal_variances)] + [_collapse]
)
def test_equal_methods_differ_no_more_often_without_normal_noise(draw) -> None:
    rng = np.random.default_rng(6)
    leaderboards = [compare(_leaderboard(draw(rng, 12, 7))) for _ in range(LEADERBOARDS)]
    assert sum(any(pair.significant for pair in pairs) for pairs in leaderboards) <= BOUND


def test_collapse_in_one_seed_makes_the_difference_strongly_skewed() -> None:
    rng = np.random.default_rng(6)
    scores = rng.normal(size=(12, 2))
    scores[3, 0] -= DEPTH
    assert compare(_leaderboard(scores))[0].skewness < -STRONG_SKEW
