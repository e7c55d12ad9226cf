"""What kind of labels a dataset has: it owns the loss, the probabilities, the divergence and the metrics."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

Kind = Literal["multi-class", "binary", "ordinal", "multi-label"]


@dataclass(frozen=True)
class Task:
    """A classification task. Logits are (b, classes); labels are int64 (b,), for multi-label float32 (b, classes)."""

    kind: Kind
    classes: tuple[str, ...]

    @property
    def outputs(self) -> int:
        """How many logits a backbone gives."""
        return len(self.classes)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy over the batch (multi-label: also over the labels)."""
        if self.kind == "multi-label":
            return F.binary_cross_entropy_with_logits(logits, labels)
        return F.cross_entropy(logits, labels)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Class probabilities, the shape of `logits`."""
        return logits.sigmoid() if self.kind == "multi-label" else logits.softmax(dim=1)
