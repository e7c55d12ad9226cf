import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fedbench_core.statistics.bootstrap import METRICS, NOT_CONFIRMED, compare_images, confirm, contributions, resample
from fedbench_core.statistics.pairs import compare

# Two predictors on four images of classes 0, 0, 1, 1: recalls (1, 1/2) and (0, 1). Training counts (3, 1) and (0, 2).
CORRECT = np.array([[1, 1, 1, 0], [0, 0, 1, 1]], dtype=bool)
GROUPS = np.array([0, 0, 1, 1])
SHARES = np.array([[3, 1], [0, 2]])


def _score(metric, correct=CORRECT, groups=GROUPS, shares=SHARES, predictor_of_client=(0, 1)):
    found = contributions(metric, correct, groups, shares, predictor_of_client)
    return None if found is None else found.sum()


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("personalization", (0.875 + 1) / 2),
        ("generalization", (0.5 + 0.25) / 2),
        ("global_accuracy", (0.75 + 0.5) / 2),
        ("balanced_accuracy", (0.75 + 0.5) / 2),
    ],
)
def test_contributions_add_up_to_the_score(metric, expected) -> None:
    assert _score(metric) == pytest.approx(expected)


def test_contribution_of_an_image_is_the_share_of_its_class_in_correct_predictors() -> None:
    """Class 0 has two images, 3/4 of client 0 and nothing of client 1; the mean is over two clients."""
    found = contributions("personalization", CORRECT, GROUPS, SHARES, [0, 1])
    assert found.tolist() == pytest.approx([3 / 16, 3 / 16, 1 / 16 + 1 / 4, 1 / 4])


def test_clients_with_a_common_predictor_count_once_each() -> None:
    shared = _score("personalization", CORRECT[:1], predictor_of_client=[0, 0])
    assert shared == _score("personalization", CORRECT[[0, 0]]) == pytest.approx((0.875 + 0.5) / 2)


def test_class_without_test_images_is_left_out() -> None:
    shares = np.array([[1, 1, 2], [2, 2, 0], [0, 0, 5]])
    predictions = {"correct": np.array([[1, 0], [1, 1], [0, 1]]), "groups": np.array([0, 1]), "shares": shares}
    # the third client only has images of an untested class: its column is undefined
    assert _score("personalization", **predictions, predictor_of_client=[0, 1, 2]) == (0.5 + 1) / 2
    off_diagonal = [0.5, 1.0, 0.5, 0.5]
    assert _score("generalization", **predictions, predictor_of_client=[0, 1, 2]) == pytest.approx(
        np.mean(off_diagonal)
    )
    assert _score("balanced_accuracy", **predictions, predictor_of_client=[0, 1, 2]) == pytest.approx(
        (0.5 + 1 + 0.5) / 3
    )


def test_images_of_no_client_count_in_global_scores_only() -> None:
    """Groups are clients; the last image belongs to neither."""
    clients = {"correct": np.array([[1, 0, 1], [0, 1, 1]]), "groups": np.array([0, 1, 2]), "shares": np.eye(2)}
    assert _score("personalization", **clients) == 1
    assert _score("generalization", **clients) == 0
    assert _score("global_accuracy", **clients) == pytest.approx(2 / 3)


@pytest.mark.parametrize("metric", ["auc", "ece", "worst_client", "f1"])
def test_score_that_is_no_mean_over_images_has_no_contributions(metric) -> None:
    assert _score(metric) is None
    assert metric not in METRICS


def test_single_client_has_no_generalization() -> None:
    assert _score("generalization", CORRECT[:1], shares=SHARES[:1], predictor_of_client=[0]) is None


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.integers(0, 2**32 - 1))
def test_resample_keeps_the_size_of_each_group(groups, seed) -> None:
    groups = np.array(groups)
    drawn = resample(groups, np.random.default_rng(seed), 7)
    assert drawn.shape == (7, len(groups))
    for group in set(groups.tolist()):
        assert (drawn[:, groups == group].sum(axis=1) == (groups == group).sum()).all()
    assert (resample(groups, np.random.default_rng(seed), 7) == drawn).all()


def _entries(rng, images=400, entries=3, seeds=2):
    groups = rng.integers(0, 3, images)
    right = rng.random((entries, seeds, images)) < 0.5 + 0.1 * rng.random((entries, 1, 1))
    shares = rng.integers(1, 9, (4, 3))
    scores = {
        f"entry {i}": {
            s: contributions("personalization", right[i, [s]], groups, shares, [0] * 4) for s in range(seeds)
        }
        for i in range(entries)
    }
    return groups, scores


def test_interval_agrees_with_scipys_bootstrap_and_with_theory() -> None:
    """The variance of a sum over strata is the sum of (size x variance within)."""
    groups, scores = _entries(np.random.default_rng(3))
    pair = compare_images(scores, resample(groups, np.random.default_rng(0), 4000))[0]
    differences = np.mean([scores["entry 0"][s] - scores["entry 1"][s] for s in range(2)], axis=0)
    strata = [differences[groups == group] for group in range(3)]
    theory = math.sqrt(sum(len(values) * values.var() for values in strata))
    assert (pair.high - pair.low) / (2 * 1.96) == pytest.approx(theory, rel=0.05)
    assert pair.difference == pytest.approx(differences.sum())
    assert pair.p == pytest.approx(2 * stats.norm.sf(abs(pair.difference) / theory), rel=0.1)
    other = stats.bootstrap(
        strata,
        lambda *drawn, axis: sum(values.sum(axis=axis) for values in drawn),
        n_resamples=4000,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert (pair.low, pair.high) == pytest.approx((other.low, other.high), abs=0.1 * theory)


def test_pairs_share_the_images_and_holms_correction() -> None:
    groups, scores = _entries(np.random.default_rng(1), entries=4)
    pairs = compare_images(scores, resample(groups, np.random.default_rng(0), 500))
    assert [(pair.a, pair.b) for pair in pairs][:3] == [("entry 0", f"entry {i}") for i in (1, 2, 3)]
    smallest = min(pairs, key=lambda pair: pair.p)
    assert smallest.p_holm == pytest.approx(min(1, 6 * smallest.p))
    for pair in pairs:
        mirrored = compare_images(
            {pair.b: scores[pair.b], pair.a: scores[pair.a]}, resample(groups, np.random.default_rng(0), 500)
        )
        assert (mirrored[0].low, mirrored[0].high) == pytest.approx((-pair.high, -pair.low))


def test_errors_on_the_same_images_cancel() -> None:
    """The entries differ on one image in a hundred, so their difference has less variance than either score."""
    rng = np.random.default_rng(0)
    groups = np.zeros(1000, dtype=np.int64)
    one = rng.random(1000) < 0.6
    other = one & (np.arange(1000) % 50 != 0)
    scores = {
        name: {0: contributions("global_accuracy", right[None], groups, np.ones((1, 1)), [0])}
        for name, right in {"one": one, "other": other}.items()
    }
    (pair,) = compare_images(scores, resample(groups, rng, 1000))
    assert pair.significant
    assert pair.high - pair.low < 0.02  # unpaired: 4 * sqrt(2 * 0.24 / 1000) = 0.09


def test_same_predictions_have_p_1_and_a_constant_difference_has_p_0() -> None:
    groups = np.array([0, 0, 1, 1])
    scores = {
        name: {0: contributions("global_accuracy", np.array([right]), groups, np.ones((1, 2)), [0])}
        for name, right in {"all": [1, 1, 1, 1], "all again": [1, 1, 1, 1], "half": [1, 1, 0, 0]}.items()
    }
    equal, different, _ = compare_images(scores, resample(groups, np.random.default_rng(0), 50))
    assert (equal.p, equal.significant) == (1, False)
    assert (different.p, different.significant, different.difference) == (0, True, 0.5)


def test_difference_by_rounding_is_not_significant() -> None:
    groups, scores = _entries(np.random.default_rng(1), entries=1)
    scores["again"] = {seed: own + 1e-16 for seed, own in scores["entry 0"].items()}
    (pair,) = compare_images(scores, resample(groups, np.random.default_rng(0), 50))
    assert pair.difference != 0
    assert (pair.p, pair.significant) == (1, False)


def test_single_entry_has_no_pairs() -> None:
    groups, scores = _entries(np.random.default_rng(1), entries=1)
    assert compare_images(scores, resample(groups, np.random.default_rng(0), 5)) == []


def test_product_in_blocks_is_the_same(monkeypatch) -> None:
    groups, scores = _entries(np.random.default_rng(1))
    drawn = resample(groups, np.random.default_rng(0), 100)
    whole = compare_images(scores, drawn)
    monkeypatch.setattr("fedbench_core.statistics.bootstrap._BLOCK_BYTES", 8 * 400 * 7)
    for one, other in zip(compare_images(scores, drawn), whole, strict=True):
        assert (one.low, one.high, one.p) == pytest.approx((other.low, other.high, other.p))


class TestConfirm:
    """Three entries that differ significantly over seeds."""

    SEEDS = compare(
        {
            "good": {0: 0.80, 1: 0.81, 2: 0.82, 3: 0.80},
            "fair": {0: 0.70, 1: 0.72, 2: 0.71, 3: 0.71},
            "poor": {0: 0.50, 1: 0.51, 2: 0.52, 3: 0.51},
        }
    )

    def _images(self, **correct):
        """Entries that predict the first `correct` of 100 images correctly."""
        groups = np.zeros(100, dtype=np.int64)
        scores = {
            name: {0: contributions("global_accuracy", (np.arange(100) < n)[None], groups, np.ones((1, 1)), [0])}
            for name, n in correct.items()
        }
        return compare_images(scores, resample(groups, np.random.default_rng(0), 500))

    def test_difference_that_the_images_confirm_keeps_the_values_over_seeds(self) -> None:
        assert all(pair.significant for pair in self.SEEDS)
        assert confirm(self.SEEDS, self._images(good=90, fair=70, poor=50)) == self.SEEDS

    def test_difference_on_few_images_is_not_significant(self) -> None:
        first, second, third = confirm(self.SEEDS, self._images(good=72, fair=70, poor=50))
        assert (first.significant, second.significant, third.significant) == (False, True, True)
        assert first.why_not == NOT_CONFIRMED
        assert first.p_holm == self.SEEDS[0].p_holm

    def test_difference_with_another_sign_over_images_is_not_significant(self) -> None:
        assert not confirm(self.SEEDS, self._images(good=50, fair=90, poor=20))[0].significant

    def test_pair_without_image_scores_is_not_significant(self) -> None:
        assert not any(pair.significant for pair in confirm(self.SEEDS, []))

    def test_images_alone_make_no_difference_significant(self) -> None:
        flat = {name: {0: 0.5, 1: 0.5} for name in ("good", "fair", "poor")}
        assert confirm(compare(flat), self._images(good=90, fair=70, poor=50)) == compare(flat)
