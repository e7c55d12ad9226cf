"""The kind of labels that a dataset has, with its loss, probabilities, divergence and metrics."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from fedbench_core.api import metrics

Kind = Literal["multi-class", "binary", "ordinal", "multi-label"]


@dataclass(frozen=True)
class Task:
    """A classification task. Logits are (b, classes); labels are int64 (b,), for multi-label float32 (b, classes).

    Binary and ordinal labels are classes too (two, or in their order), with one logit each, as in MedMNIST's benchmark.
    """

    kind: Kind
    classes: tuple[str, ...]

    @property
    def outputs(self) -> int:
        """The number of logits of a backbone."""
        return len(self.classes)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy over the batch (multi-label: also over the labels)."""
        if self.kind == "multi-label":
            return F.binary_cross_entropy_with_logits(logits, labels)
        return F.cross_entropy(logits, labels)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Class probabilities, the shape of `logits`."""
        return logits.sigmoid() if self.kind == "multi-label" else logits.softmax(dim=1)

    def divergence(self, reference_logits: Tensor, logits: Tensor) -> Tensor:
        """KL(reference || model) in nats: summed over the classes, averaged over the batch.

        Multi-label: the sum of the labels' Bernoulli divergences. Gradients flow into both
        arguments: detach the one that must not be trained. For a temperature, divide both logits by it.
        """
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
