"""Scores of what models predicted, each distinct model scored once. Workers predict, and the engine's process scores.

So only this process imports torchmetrics, which takes a second.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fedbench_core.api import Task
from fedbench_core.api.metrics import THRESHOLD
from fedbench_core.federation.bits import text_of_bits, text_of_codes
from fedbench_core.federation.calls import PredictCall, PredictDone, Predictions
from fedbench_core.federation.partition import Partition
from fedbench_core.federation.recent import Recent
from fedbench_core.statistics.contributions import auc_contributions

_KEPT = 8


@dataclass(frozen=True)
class ModelScore:
    """The scores of one model on a whole split."""

    digest: str
    scores: Mapping[str, float | None]
    recalls: npt.NDArray[np.float64]
    """(classes,), NaN where the split has no image of a class."""
    correct: npt.NDArray[np.uint8]
    """Packed bits: right or wrong per image (multi-label: per image and label)."""
    predicted: str = ""
    """The predicted class of each image as `text_of_codes`; multi-label: bits per image and label."""
    auc_images: npt.NDArray[np.float64] | None = None
    """What each image contributes to the AUC, (images,); None where it is undefined, and on validation images."""


@dataclass(frozen=True)
class Scored:
    """Scores by role, and probabilities (images, classes) for the local images of the call's clients, in order.

    made_from_received: as in `PredictDone`.
    """

    call: PredictCall
    scores: Mapping[str, ModelScore]
    local: Mapping[str, npt.NDArray[np.float32]]
    made_from_received: frozenset[str] = frozenset()


class Scorer:
    """Scores predictions for the splits of a partitioned dataset."""

    def __init__(self, partition: Partition) -> None:
        self._partition = partition
        self._seen = Recent[tuple[str, str], ModelScore](_KEPT)

    def scored(self, done: PredictDone) -> Scored:
        """The scores of the models of a call, and what is needed of their predictions."""
        split = done.call.split
        own = [self._partition.indices[split][client] for client in done.call.clients]
        rows = np.concatenate([np.empty(0, np.int64), *own])
        scores = {role: self._score(made, split) for role, made in done.predictions.items()}
        local = {role: made.probabilities[rows] for role, made in done.predictions.items()}
        return Scored(done.call, scores, local, done.made_from_received)

    def _score(self, made: Predictions, split: str) -> ModelScore:
        return self._seen.get((made.digest, split), lambda: self._computed(made, split))

    def _computed(self, made: Predictions, split: str) -> ModelScore:
        task = self._partition.splits.task
        probabilities, labels = torch.tensor(made.probabilities), getattr(self._partition.splits, split).targets()
        members = task.members(labels).numpy()
        return ModelScore(
            made.digest,
            task.scores(probabilities, labels),
            task.recalls(probabilities, labels).double().numpy(),
            np.packbits(task.correct(probabilities, labels).numpy()),
            _text(task, probabilities),
            auc_contributions(made.probabilities, members) if split == "test" else None,
        )


def _text(task: Task, probabilities: Tensor) -> str:
    """The predictions of all images as a record holds them."""
    if task.kind == "multi-label":
        return text_of_bits(np.packbits((probabilities >= THRESHOLD).numpy()))
    return text_of_codes(probabilities.argmax(dim=1).numpy(), task.outputs)
