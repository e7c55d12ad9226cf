import numpy as np
import pytest
import torch

from fedbench_core.api import Task
from fedbench_core.federation.assembly import resolve
from fedbench_core.federation.calls import PredictCall, PredictDone, Predictions
from fedbench_core.federation.scoring import Scorer
from fedbench_core.runner import How, partition_of


@pytest.fixture
def scene(spec):
    """A partition, and random probabilities for its test images."""
    partition = partition_of(resolve(spec("local")), How())
    logits = torch.randn(len(partition.splits.test), partition.splits.task.outputs)
    probabilities = logits.softmax(dim=1).numpy()
    probabilities.flags.writeable = False  # as they come from a Ray cluster
    return partition, probabilities


def _done(split: str, clients: tuple[int, ...], **predictions: Predictions) -> PredictDone:
    return PredictDone(PredictCall("client", 0, "tiny", clients, 3, split, 1, 2, None, None), predictions)


def test_predictions_are_scored_on_the_whole_split_and_kept_for_the_clients_images(scene) -> None:
    partition, probabilities = scene
    scored = Scorer(partition).scored(_done("test", (2, 0), model=Predictions("one", probabilities)))
    labels = partition.splits.test.targets().numpy()
    right = probabilities.argmax(axis=1) == labels
    score = scored.scores["model"]
    assert score.scores["accuracy"] == pytest.approx(right.mean())
    assert np.unpackbits(score.correct, count=len(labels)).tolist() == right.astype(int).tolist()
    assert score.digest == "one"
    rows = np.concatenate([partition.indices["test"][client] for client in (2, 0)])
    np.testing.assert_array_equal(scored.local["model"], probabilities[rows])


def test_models_of_nobody_have_no_local_predictions(scene) -> None:
    partition, probabilities = scene
    scored = Scorer(partition).scored(_done("test", (), model=Predictions("one", probabilities)))
    assert scored.local["model"].shape == (0, partition.splits.task.outputs)


def test_equal_models_are_scored_once_per_split(scene, monkeypatch) -> None:
    partition, probabilities = scene
    counted, scores = [], Task.scores
    monkeypatch.setattr(Task, "scores", lambda *args: counted.append(1) or scores(*args))
    scorer, predictions = Scorer(partition), Predictions("one", probabilities)
    scorer.scored(_done("test", (0,), a=predictions, b=predictions))
    scorer.scored(_done("test", (1,), a=predictions))
    assert len(counted) == 1
    scorer.scored(_done("val", (1,), a=Predictions("one", probabilities[: len(partition.splits.val)])))
    scorer.scored(_done("test", (1,), a=Predictions("two", probabilities)))
    assert len(counted) == 3
