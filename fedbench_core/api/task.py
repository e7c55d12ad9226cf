"""The kind of labels that a dataset has, with its loss, probabilities, divergence and metrics."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from fedbench_core.api import metrics
from fedbench_core.api.training import Training

Kind = Literal["multi-class", "binary", "ordinal", "multi-label"]


@dataclass(frozen=True)
class Task:
    """A classification task. Logits are (b, classes); labels are int64 (b,), for multi-label float32 (b, classes).

    Binary and ordinal labels are classes too (two, or in their order), with one logit each, as in MedMNIST's benchmark.
    smoothing and weights are those of a client's training, and change `loss` alone: weights has a weight per class, or
    for multi-label one pair per label, of images without and with it; empty: all are 1.
    """

    kind: Kind
    classes: tuple[str, ...]
    smoothing: float = 0.0
    weights: tuple[float, ...] | tuple[tuple[float, float], ...] = ()

    @property
    def outputs(self) -> int:
        """The number of logits of a backbone."""
        return len(self.classes)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy over the batch (multi-label: also over the labels), with smoothing and weights.

        Smoothing e takes e of the target and gives e / K to each of K classes (multi-label: e / 2 to yes and to no);
        weighted means are divided by the sum of the images' weights, multi-label ones by the number of labels.
        Source of smoothing: Szegedy et al., Rethinking the Inception Architecture, CVPR 2016.
        """
        logits = _full(logits)
        weights = torch.tensor(self.weights, dtype=logits.dtype, device=logits.device) if self.weights else None
        if self.kind != "multi-label":
            return F.cross_entropy(logits, labels, weight=weights, label_smoothing=self.smoothing)
        if weights is not None:
            weights = weights[:, 0].lerp(weights[:, 1], labels)
        targets = labels.lerp(labels.new_tensor(0.5), self.smoothing) if self.smoothing else labels
        return F.binary_cross_entropy_with_logits(logits, targets, weight=weights)

    def under(self, training: Training) -> "Task":
        """The task with the label smoothing of a recipe, and without class weights if the recipe has none."""
        weights = self.weights if training.class_weights == "balanced" else ()
        return replace(self, smoothing=training.label_smoothing, weights=weights)

    def balanced(self, labels: Tensor) -> "Task":
        """The task whose classes count equally among `labels`.

        A class with n of N labels weighs N / (K n), where K classes are present; one without labels weighs 1.
        Multi-label: images with label l weigh N / (2 n), those without it N / (2 (N - n)); 1 if either is missing.
        """
        members = self.members(labels)
        counts, total = members.sum(dim=0).tolist(), len(members)
        if self.kind == "multi-label":
            both = [(total / (2 * (total - n)), total / (2 * n)) if 0 < n < total else (1.0, 1.0) for n in counts]
            return replace(self, weights=tuple(both))
        present = sum(n > 0 for n in counts)
        return replace(self, weights=tuple(total / (present * n) if n else 1.0 for n in counts))

    def probabilities(self, logits: Tensor) -> Tensor:
        """Class probabilities, the shape of `logits`."""
        return logits.sigmoid() if self.kind == "multi-label" else logits.softmax(dim=1)

    def divergence(self, reference_logits: Tensor, logits: Tensor) -> Tensor:
        """KL(reference || model) in nats: summed over the classes, averaged over the batch.

        Multi-label: the sum of the labels' Bernoulli divergences. Gradients flow into both
        arguments: detach the one that must not be trained. For a temperature, divide both logits by it.
        """
        reference_logits, logits = _full(reference_logits), _full(logits)
        if self.kind != "multi-label":
            reference, model = reference_logits.log_softmax(dim=1), logits.log_softmax(dim=1)
            return F.kl_div(model, reference, reduction="batchmean", log_target=True)
        yes = F.kl_div(F.logsigmoid(logits), F.logsigmoid(reference_logits), reduction="batchmean", log_target=True)
        no = F.kl_div(F.logsigmoid(-logits), F.logsigmoid(-reference_logits), reduction="batchmean", log_target=True)
        return yes + no

    def members(self, labels: Tensor) -> Tensor:
        """Whether an image belongs to a class: bool (n, classes)."""
        return labels.bool() if self.kind == "multi-label" else F.one_hot(labels, self.outputs).bool()

    def correct(self, probabilities: Tensor, labels: Tensor) -> Tensor:
        """Which predictions are right: bool (n,); multi-label (n, L), a label being predicted from 0.5 upwards."""
        if self.kind == "multi-label":
            return self._predicted(probabilities) == labels.bool()
        return probabilities.argmax(dim=1) == labels

    def recalls(self, probabilities: Tensor, labels: Tensor) -> Tensor:
        """The recall of each class (label), (classes,); NaN for a class without an image."""
        return metrics.recalls(self._predicted(probabilities), self.members(labels))

    def scores(self, probabilities: Tensor, labels: Tensor) -> dict[str, float | None]:
        """The accuracy, balanced_accuracy, auc, f1 and, for ordinal labels, mae (in classes); None where undefined.

        balanced_accuracy, auc and f1 are means over the classes that are present (for auc: and have a negative), so
        an absent class counts neither in the sum nor in the divisor. Multi-label: balanced_accuracy is the mean over
        the labels of (sensitivity + specificity) / 2.
        """
        predicted, members = self._predicted(probabilities), self.members(labels)
        balanced = metrics.recalls(predicted, members)
        if self.kind == "multi-label":
            balanced = (balanced + metrics.recalls(~predicted, ~members)) / 2
        scores = {
            "accuracy": metrics.mean(self.correct(probabilities, labels)),
            "balanced_accuracy": metrics.mean(balanced),
            "auc": metrics.mean(metrics.aucs(probabilities, members)),
            "f1": metrics.mean(metrics.f1s(predicted, members)),
        }
        if self.kind == "ordinal":
            scores["mae"] = metrics.mean((probabilities.argmax(dim=1) - labels).abs())
        return scores

    def calibration(self, probabilities: Tensor, labels: Tensor) -> dict[str, float | None]:
        """The ece (15 bins, l1, of the predicted class), brier (summed over classes) and n, the number of images.

        Pool the images of all clients first: the binned error of few images is mostly noise. Multi-label: ece over all
        n * L predicted probabilities, brier averaged over the labels. None where there is no image.
        """
        multi_label = self.kind == "multi-label"
        squares = (probabilities - self.members(labels).to(probabilities)).square()
        return {
            "ece": metrics.ece(probabilities, labels.long()),
            "brier": metrics.mean(squares.mean(dim=1) if multi_label else squares.sum(dim=1)),
            "n": len(labels),
        }

    def _predicted(self, probabilities: Tensor) -> Tensor:
        """Whether an image is predicted to belong to a class: bool (n, classes)."""
        if self.kind == "multi-label":
            return probabilities >= metrics.THRESHOLD
        return F.one_hot(probabilities.argmax(dim=1), self.outputs).bool()


def _full(logits: Tensor) -> Tensor:
    """Logits in single precision at least: those of a network under autocast are in half precision."""
    return logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits
