"""The reference method that predicts the most frequent class."""

from dataclasses import replace
from math import log

import numpy as np
import pytest
import torch

from fedbench_core.api import Examples, Task
from fedbench_core.parts.references import Majority, class_logits
from fedbench_core.testing.toys import toy_client, toy_moment

TASK = Task("multi-class", ("a", "b", "c", "d"))
SEVERAL = Task("multi-label", TASK.classes)


def test_logits_by_hand() -> None:
    logits = class_logits(torch.tensor([1, 1, 1, 2, 2, 0]), TASK)  # with one more of each: 2, 4, 3 and 1 of 10
    torch.testing.assert_close(logits, torch.tensor([log(0.2), log(0.4), log(0.3), log(0.1)]))
    labels = torch.tensor([[1.0, 0, 1, 0], [1, 0, 0, 0]])  # 2, 0, 1 and 0 of 2; with two images more 3, 1, 2 and 1 of 4
    expected = torch.tensor([log(3), -log(3), 0, -log(3)])
    torch.testing.assert_close(class_logits(labels, SEVERAL), expected)


def test_first_of_equally_frequent_classes_is_predicted() -> None:
    assert class_logits(torch.tensor([3, 2, 3, 2]), TASK).argmax() == 2


@pytest.mark.parametrize(("labels", "accuracy"), [([2, 2, 1], 2 / 3), ([0, 0, 0], 0.0)])
def test_constant_prediction_is_scored(labels, accuracy) -> None:
    """Among images of all kinds its AUC is a half, and its balanced accuracy one over the classes that are there."""
    labels = torch.tensor(labels)
    probabilities = TASK.probabilities(class_logits(torch.tensor([2]), TASK).expand(len(labels), -1))
    scores = TASK.scores(probabilities, labels)
    assert scores["accuracy"] == pytest.approx(accuracy)
    if len(labels.unique()) > 1:
        assert (scores["auc"], scores["balanced_accuracy"]) == (0.5, 0.5)
    else:
        assert scores["auc"] is None


def test_client_predicts_its_own_most_frequent_class_at_no_cost() -> None:
    client, ctx = toy_client(), toy_moment()
    labels = np.array([[0]] * 5 + [[2]] * 6 + [[1]] * 5)
    client.train = Examples(client.train.images, labels, client.train.indices, "none")
    update = Majority().train(client, None, ctx)
    assert update.payload is None
    assert (update.num_examples, update.metrics["steps"]) == (16, 0)
    assert update.metrics["loss"] == pytest.approx(-(10 * log(6 / 19) + 6 * log(7 / 19)) / 16)
    net = Majority().predictors(client, None, ctx)["majority"]
    assert net(torch.zeros(3, 1, 8, 8)).argmax(dim=1).tolist() == [2, 2, 2]
    rows = replace(client.train, labels=labels[::-1].copy())
    assert Majority().predictors(replace(client, train=rows), None, ctx)["majority"].logits.equal(net.logits)
