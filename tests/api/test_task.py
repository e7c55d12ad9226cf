import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from fedbench_core.api import Task

THREE = Task("multi-class", ("a", "b", "c"))
LABELS = torch.tensor([0, 0, 1, 1])  # no image of class c
PROBABILITIES = torch.tensor([[0.81, 0.10, 0.09], [0.62, 0.28, 0.10], [0.10, 0.82, 0.08], [0.20, 0.25, 0.55]])

MANY = Task("multi-label", ("a", "b", "c"))
MANY_LABELS = torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]])
MANY_PROBABILITIES = torch.tensor([[0.9, 0.21, 0.1], [0.55, 0.7, 0.61], [0.3, 0.61, 0.21], [0.21, 0.65, 0.1]])

KINDS = st.sampled_from(["multi-class", "binary", "ordinal"])


def draw(task, images, seed):
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(task.outputs, (images,), generator=rng)
    return torch.randn(images, task.outputs, generator=rng), labels


class TestLoss:
    @pytest.mark.parametrize("kind", ["multi-class", "binary", "ordinal"])
    def test_is_the_mean_log_of_the_true_class(self, kind):
        task = Task(kind, ("a", "b"))
        logits = torch.log(torch.tensor([[0.25, 0.75], [0.5, 0.5]]))
        assert float(task.loss(logits, torch.tensor([0, 1]))) == pytest.approx((math.log(4) + math.log(2)) / 2)

    def test_of_many_labels_is_a_mean_over_images_and_labels(self):
        logits = torch.logit(torch.tensor([[0.25, 0.5]]))
        expected = (math.log(4) + math.log(2)) / 2
        assert float(MANY.loss(logits, torch.tensor([[1.0, 0.0]]))) == pytest.approx(expected)

    def test_smoothing_moves_a_part_of_the_target_to_all_classes(self):
        """Target (0.8 + 0.2 / 2, 0.2 / 2): 0.9 ln 4 + 0.1 ln(4/3)."""
        task = Task("binary", ("a", "b"), smoothing=0.2)
        logits = torch.log(torch.tensor([[0.25, 0.75]]))
        assert float(task.loss(logits, torch.tensor([0]))) == pytest.approx(0.9 * math.log(4) + 0.1 * math.log(4 / 3))
        many = Task("multi-label", ("a",), smoothing=0.2)
        found = float(many.loss(torch.logit(torch.tensor([[0.25]])), torch.tensor([[1.0]])))
        assert found == pytest.approx(0.9 * math.log(4) + 0.1 * math.log(4 / 3))

    def test_balanced_weights_are_inverse_frequencies_of_the_classes_present(self):
        """Four images, of classes a, a, a and b: 4 / (2 * 3) and 4 / (2 * 1); nothing is known of c."""
        task = THREE.balanced(torch.tensor([0, 0, 0, 1]))
        assert task.weights == pytest.approx((2 / 3, 2.0, 1.0))
        logits = torch.log(torch.tensor([[0.25, 0.5, 0.25], [0.5, 0.25, 0.25]]))
        expected = (2 / 3 * math.log(4) + 2 * math.log(4)) / (2 / 3 + 2)
        assert float(task.loss(logits, torch.tensor([0, 1]))) == pytest.approx(expected)
        expected = (2 / 3 * math.log(4) + 2 * math.log(2)) / (2 / 3 + 2)
        assert float(task.loss(logits[:1].repeat(2, 1), torch.tensor([0, 1]))) == pytest.approx(expected)
        assert THREE.balanced(torch.tensor([0, 1, 2, 2, 1, 0])).weights == pytest.approx((1, 1, 1))

    def test_balanced_weights_of_a_label_are_those_of_images_without_and_with_it(self):
        """Label a: one of four images has it, 4 / (2 * 3) and 4 / (2 * 1); b: two of four; c: none."""
        labels = torch.tensor([[1.0, 1, 0], [0, 1, 0], [0, 0, 0], [0, 0, 0]])
        task = MANY.balanced(labels)
        assert [pair for one in task.weights for pair in one] == pytest.approx([2 / 3, 2, 1, 1, 1, 1])
        logits = torch.logit(torch.tensor([[0.25, 0.5, 0.5], [0.5, 0.5, 0.5]]))
        found = float(task.loss(logits, labels[:2]))
        parts = [2 * math.log(4), math.log(2), math.log(2), 2 / 3 * math.log(2), math.log(2), math.log(2)]
        assert found == pytest.approx(sum(parts) / 6)

    def test_of_half_precision_logits_is_computed_in_single_precision(self):
        logits, labels = draw(THREE, 8, 0)
        half = logits.bfloat16()
        assert torch.equal(THREE.loss(half, labels), THREE.loss(half.float(), labels))
        assert torch.equal(
            THREE.divergence(half, half[:, [1, 0, 2]]), THREE.divergence(half.float(), half[:, [1, 0, 2]].float())
        )

    def test_probabilities_are_a_distribution_or_one_per_label(self):
        logits = torch.tensor([[0.0, math.log(3.0)]])
        assert torch.allclose(THREE.probabilities(logits), torch.tensor([[0.25, 0.75]]))
        assert torch.allclose(MANY.probabilities(logits), torch.tensor([[0.5, 0.75]]))


class TestDivergence:
    def test_sums_over_classes_and_averages_over_images(self):
        reference = torch.log(torch.tensor([[0.5, 0.5], [0.25, 0.75]]))
        model = torch.log(torch.tensor([[0.25, 0.75], [0.25, 0.75]]))
        # 0.5 ln(0.5 / 0.25) + 0.5 ln(0.5 / 0.75) = 0.5 ln(4/3), then the mean with an image without divergence
        assert float(THREE.divergence(reference, model)) == pytest.approx(0.25 * math.log(4 / 3))

    def test_is_not_symmetric(self):
        reference, model = torch.log(torch.tensor([[0.5, 0.5]])), torch.log(torch.tensor([[0.25, 0.75]]))
        backwards = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
        assert float(THREE.divergence(model, reference)) == pytest.approx(backwards)

    def test_sums_over_labels(self):
        reference, model = torch.zeros(1, 2), torch.logit(torch.tensor([[0.25, 0.25]]))
        assert float(MANY.divergence(reference, model)) == pytest.approx(2 * 0.5 * math.log(4 / 3))

    @pytest.mark.parametrize("task", [THREE, MANY])
    def test_is_finite_and_trainable_where_probabilities_underflow(self, task):
        reference = torch.tensor([[300.0, -300.0, 0.0]])
        logits = torch.tensor([[-300.0, 300.0, 0.0]], requires_grad=True)
        divergence = task.divergence(reference, logits)
        divergence.backward()
        assert float(divergence.detach()) == pytest.approx(600.0)
        assert torch.isfinite(logits.grad).all()

    @given(seed=st.integers(0, 10**6), images=st.integers(1, 9), task=st.sampled_from([THREE, MANY]))
    def test_is_positive_and_zero_only_between_equals(self, seed, images, task):
        reference, _ = draw(task, images, seed)
        other, _ = draw(task, images, seed + 1)
        assert float(task.divergence(reference, other)) > 0
        assert float(task.divergence(reference, reference)) == pytest.approx(0, abs=1e-6)

    @given(seed=st.integers(0, 10**6), images=st.integers(1, 9), task=st.sampled_from([THREE, MANY]))
    def test_pulls_the_models_probabilities_towards_the_references(self, seed, images, task):
        reference, _ = draw(task, images, seed)
        logits = draw(task, images, seed + 1)[0].requires_grad_()
        task.divergence(reference, logits).backward()
        pull = (task.probabilities(logits) - task.probabilities(reference)) / images
        assert torch.allclose(logits.grad, pull, atol=1e-6)


class TestScores:
    def test_absent_classes_count_in_no_mean_and_no_divisor(self):
        scores = THREE.scores(PROBABILITIES, LABELS)
        assert scores == pytest.approx(
            {
                "accuracy": 3 / 4,
                "balanced_accuracy": (1 + 1 / 2) / 2,
                "auc": (1 + 3 / 4) / 2,  # a zero for class c would make it 0.583
                "f1": (1 + 2 / 3) / 2,  # class c is predicted once: counting it would make it 0.556
            }
        )

    def test_every_class_present_is_the_plain_macro_mean(self):
        labels = torch.tensor([0, 0, 1, 2])
        scores = THREE.scores(PROBABILITIES, labels)
        assert scores == pytest.approx({"accuracy": 1.0, "balanced_accuracy": 1.0, "auc": 1.0, "f1": 1.0})

    def test_of_one_class_only_leave_the_auc_undefined(self):
        scores = THREE.scores(PROBABILITIES, torch.zeros(4, dtype=torch.int64))
        assert scores == {"accuracy": 0.5, "balanced_accuracy": 0.5, "auc": None, "f1": pytest.approx(2 / 3)}

    @pytest.mark.parametrize(
        ("task", "labels"), [(THREE, torch.zeros(0, dtype=torch.int64)), (MANY, torch.zeros(0, 3))]
    )
    def test_of_no_image_are_all_undefined(self, task, labels):
        assert set(task.scores(torch.zeros(0, 3), labels).values()) == {None}
        assert task.calibration(torch.zeros(0, 3), labels) == {"ece": None, "brier": None, "n": 0}

    def test_of_ordinal_labels_have_the_distance_in_classes(self):
        task = Task("ordinal", ("mild", "moderate", "severe"))
        scores = task.scores(PROBABILITIES, torch.tensor([2, 0, 1, 1]))
        assert scores["mae"] == pytest.approx((2 + 0 + 0 + 1) / 4)

    def test_of_many_labels_are_means_over_the_labels_that_have_both_answers(self):
        scores = MANY.scores(MANY_PROBABILITIES, MANY_LABELS)
        assert scores == pytest.approx(
            {
                "accuracy": 10 / 12,
                "balanced_accuracy": (1 + (1 + 1 / 2) / 2) / 2,
                "auc": (1 + 3 / 4) / 2,
                "f1": (1 + 4 / 5) / 2,
            }
        )

    @settings(deadline=None, max_examples=30)
    @given(seed=st.integers(0, 10**6), images=st.integers(1, 30), kind=KINDS)
    def test_a_class_that_never_occurs_changes_nothing(self, seed, images, kind):
        task, wider = Task(kind, ("a", "b")), Task(kind, ("a", "b", "never"))
        logits, labels = draw(task, images, seed)
        probabilities = task.probabilities(logits)
        assert wider.scores(F.pad(probabilities, (0, 1)), labels) == task.scores(probabilities, labels)

    @settings(deadline=None, max_examples=30)
    @given(seed=st.integers(0, 10**6), images=st.integers(1, 30))
    def test_accuracy_is_the_recalls_weighted_by_their_classes(self, seed, images):
        logits, labels = draw(THREE, images, seed)
        recalls = THREE.recalls(THREE.probabilities(logits), labels)
        shares = torch.bincount(labels, minlength=3) / images
        assert torch.equal(recalls.isnan(), shares == 0)
        weighted = float((recalls.nan_to_num() * shares).sum())
        assert weighted == pytest.approx(THREE.scores(THREE.probabilities(logits), labels)["accuracy"])


class TestCorrect:
    def test_of_classes_is_one_answer_per_image(self):
        assert THREE.correct(PROBABILITIES, LABELS).tolist() == [True, True, True, False]

    def test_of_many_labels_is_one_answer_per_label(self):
        correct = MANY.correct(torch.tensor([[0.5, 0.49, 0.9]]), torch.tensor([[1.0, 1.0, 0.0]]))
        assert correct.tolist() == [[True, False, False]]

    def test_recalls_are_undefined_without_an_image(self):
        assert THREE.recalls(PROBABILITIES, LABELS).tolist() == pytest.approx([1.0, 0.5, math.nan], nan_ok=True)
        recalls = MANY.recalls(MANY_PROBABILITIES, MANY_LABELS)
        assert recalls.tolist() == pytest.approx([1.0, 1.0, math.nan], nan_ok=True)


class TestCalibration:
    def test_golden(self):
        # bins of 1/15: {0.81, 0.82} both right, {0.62} right, {0.55} wrong
        ece = (2 * (1 - 0.815) + (1 - 0.62) + 0.55) / 4
        brier = (0.0542 + 0.2328 + 0.0488 + 0.9050) / 4
        assert THREE.calibration(PROBABILITIES, LABELS) == pytest.approx({"ece": ece, "brier": brier, "n": 4})

    def test_golden_of_many_labels(self):
        # bins of 1/15: of {0.61, 0.61, 0.65} one holds, of three times 0.21 and twice 0.1 none; the others are alone
        ece = ((1.87 - 1) + 0.63 + 0.2 + (1 - 0.9) + (1 - 0.55) + (1 - 0.7) + 0.3) / 12
        brier = (0.0641 + 0.6646 + 0.2862 + 0.4766) / 12
        assert MANY.calibration(MANY_PROBABILITIES, MANY_LABELS) == pytest.approx({"ece": ece, "brier": brier, "n": 4})

    def test_of_small_sets_is_noise_so_clients_are_centralized(self):
        rng = torch.Generator().manual_seed(0)
        probabilities = (2 * torch.randn(6000, 8, generator=rng)).softmax(dim=1)
        labels = torch.multinomial(probabilities, 1, generator=rng)[:, 0]  # perfectly calibrated
        task = Task("multi-class", tuple("abcdefgh"))
        centralized = task.calibration(probabilities, labels)
        clients = [task.calibration(probabilities[i : i + 20], labels[i : i + 20]) for i in range(0, 6000, 20)]
        assert centralized["n"] == 6000
        assert centralized["ece"] < 0.03
        assert sum(c["ece"] for c in clients) / 300 > 0.15
        assert sum(c["brier"] for c in clients) / 300 == pytest.approx(centralized["brier"])


def test_members_are_the_classes_of_an_image():
    assert THREE.members(torch.tensor([2, 0])).tolist() == [[False, False, True], [True, False, False]]
    assert MANY.members(MANY_LABELS[:2]).tolist() == [[True, False, False], [True, True, False]]
    assert THREE.members(LABELS).dtype == MANY.members(MANY_LABELS).dtype == torch.bool
