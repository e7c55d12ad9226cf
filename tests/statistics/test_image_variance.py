import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fedbench_core.statistics.contributions import contributions
from fedbench_core.statistics.image_variance import ImageScores, image_variances
from fedbench_core.statistics.pairs import compare


def _scores(table, groups=None):
    """Contributions (entries, seeds, images) as they are compared, and the scores that they add up to."""
    by_entry = {f"entry {i}": dict(enumerate(np.asarray(own, float))) for i, own in enumerate(table)}
    groups = np.zeros(np.shape(table)[-1], np.int64) if groups is None else np.asarray(groups)
    sums = {name: {seed: float(one.sum()) for seed, one in own.items()} for name, own in by_entry.items()}
    return sums, ImageScores(by_entry, groups)


def test_variances_agree_with_a_computation_by_hand() -> None:
    """Two seeds and two images in one group; the differences of the entries are 3, 1 and 1, 3 in units of 0.1.

    Means over seeds are 2, 2, so images add nothing. Residuals are 1, -1, -1, 1; with n / (n - 1) = 2 and
    1 / (S (S - 1)) = 1/2 the interaction is 4. V_seeds is zero: both seeds have the sum 4.
    """
    _, images = _scores([[[0.3, 0.1], [0.1, 0.3]], [[0, 0], [0, 0]]])
    by_images, interaction = image_variances(images, ["entry 0", "entry 1"])
    assert by_images == pytest.approx([0], abs=1e-15)
    assert interaction == pytest.approx([0.04])


def test_variance_of_images_is_that_of_a_sum_over_groups_of_fixed_sizes() -> None:
    """Seeds alike: group 0 has differences 1, 3 (squares 2, times 2/1), group 1 has 5, 5, 8 (squares 6, times 3/2)."""
    _, images = _scores([[[1, 5, 3, 5, 8]] * 2, [[0] * 5] * 2], groups=[0, 1, 0, 1, 1])
    by_images, interaction = image_variances(images, ["entry 0", "entry 1"])
    assert by_images == pytest.approx([2 * 2 + 6 * 1.5])
    assert interaction == pytest.approx([0], abs=1e-12)
    assert images.degrees_of_freedom == 3


def test_test_agrees_with_a_computation_by_hand() -> None:
    """V = V_seeds + V_images - V_interaction, with Satterthwaite's degrees of freedom."""
    rng = np.random.default_rng(0)
    one, other = (
        0.01 * rng.normal(size=(2, 4, 30)) + np.array([[[0.012]], [[0.01]]]) + 0.03 * rng.normal(size=(2, 1, 30))
    )
    scores, images = _scores([one, other])
    (pair,) = compare(scores, images)
    d = one - other
    seeds, means = d.sum(axis=1), d.mean(axis=0)
    residuals = d - means - d.mean(axis=1, keepdims=True) + d.mean()
    v_seeds, v_images = seeds.var(ddof=1) / 4, 30 * means.var(ddof=1)
    v_both = 30 * (residuals**2).sum() / (3 * 29) / 4
    variance = v_seeds + v_images - v_both
    freedom = variance**2 / (v_seeds**2 / 3 + v_images**2 / 29 + v_both**2 / (3 * 29))
    assert v_images > v_both
    assert pair.standard_error == pytest.approx(math.sqrt(variance))
    assert pair.degrees_of_freedom == pytest.approx(freedom)
    assert pair.p == pytest.approx(2 * stats.t.sf(abs(seeds.mean()) / math.sqrt(variance), freedom))
    reach = stats.t.isf(0.025, freedom) * math.sqrt(variance)
    assert (pair.low, pair.high) == pytest.approx((pair.difference - reach, pair.difference + reach))


def test_images_that_add_nothing_leave_the_test_over_seeds() -> None:
    """Every image contributes the same: V_images is zero and less than the interaction, so V is that of seeds."""
    rng = np.random.default_rng(0)
    table = np.repeat(0.1 * rng.normal(size=(3, 5, 1)), 20, axis=2)
    scores, images = _scores(table)
    assert compare(scores, images) == compare(scores)


@given(st.integers(0, 2**32 - 1))
def test_test_with_images_never_has_less_variance_than_over_seeds(seed) -> None:
    rng = np.random.default_rng(seed)
    scores, images = _scores(rng.random((3, 4, 9)) + rng.random((3, 1, 9)), groups=rng.integers(0, 3, 9))
    for with_images, over_seeds in zip(compare(scores, images), compare(scores), strict=True):
        assert with_images.standard_error >= over_seeds.standard_error
        assert with_images.difference == over_seeds.difference


def test_order_of_images_and_names_of_groups_do_not_matter() -> None:
    rng = np.random.default_rng(0)
    table, groups, order = rng.random((2, 3, 12)), rng.integers(0, 3, 12), rng.permutation(12)
    one = image_variances(_scores(table, groups)[1], ["entry 0", "entry 1"])
    other = image_variances(_scores(table[..., order], 5 - groups[order])[1], ["entry 0", "entry 1"])
    assert np.stack(one) == pytest.approx(np.stack(other))


def test_errors_on_the_same_images_cancel() -> None:
    """The entries differ on one image in 50, so their difference has less variance than either score."""
    rng = np.random.default_rng(0)
    one = rng.random(1000) < 0.6
    other = one & (np.arange(1000) % 50 != 0)
    groups = np.zeros(1000, np.int64)
    table = [[contributions("global_accuracy", own[None], groups, np.ones((1, 1)), [0])] * 2 for own in (one, other)]
    scores, images = _scores(table)
    (pair,) = compare(scores, images)
    assert pair.standard_error < 0.005  # unpaired: sqrt(2 * 0.24 / 1000) = 0.022
    assert pair.significant


def test_pairs_with_different_seeds_have_no_variance_of_images() -> None:
    rng = np.random.default_rng(0)
    _, images = _scores(rng.random((3, 4, 9)))
    del images.by_entry["entry 2"][3]
    by_images, _ = image_variances(images, list(images.by_entry))
    assert by_images[0] > 0
    assert np.isnan(by_images[1:]).all()
