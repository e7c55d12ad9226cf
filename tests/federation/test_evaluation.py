from dataclasses import replace

import numpy as np
import pytest
import torch

from fedbench_core.api import Examples, Splits, Task
from fedbench_core.federation.calls import PredictCall
from fedbench_core.federation.evaluation import evaluate
from fedbench_core.federation.partition import HeldOut, Partition
from fedbench_core.federation.scoring import ModelScore, Scored


def _examples(labels) -> Examples:
    labels = np.array(labels, dtype=np.int64)
    images = np.zeros((len(labels), 4, 4), np.uint8)
    return Examples(images, labels.reshape(len(labels), -1), np.arange(len(labels)), "none")


def _shares(counts, test, owned, kind="multi-class") -> Partition:
    """Partition with these training counts (clients x classes) and these rows of the test labels."""
    counts = np.array(counts)
    train = np.repeat(np.tile(np.arange(counts.shape[1]), len(counts)), counts.reshape(-1))
    task = Task(kind, tuple("abcdef"[: counts.shape[1]]))
    splits = Splits("hand", task, _examples(train), _examples(test), _examples(test), "", official=True)
    ends = np.cumsum(counts.sum(axis=1))[:-1]
    rows = [np.array(own, dtype=np.int64) for own in owned]
    return Partition(splits, {"train": np.split(np.arange(len(train)), ends), "test": rows}, counts)


def _score(shares, predicted) -> tuple[ModelScore, np.ndarray]:
    """The scores and probabilities of a model that predicts `predicted` for the test images."""
    task, labels = shares.splits.task, shares.splits.test.targets()
    probabilities = torch.nn.functional.one_hot(torch.tensor(predicted), task.outputs).float()
    score = ModelScore(
        digest=str(predicted),
        scores=task.scores(probabilities, labels),
        recalls=task.recalls(probabilities, labels).double().numpy(),
        correct=np.packbits(task.correct(probabilities, labels).numpy()),
    )
    return score, probabilities.numpy()


def _done(shares, clients, of="client", **roles) -> Scored:
    """The outcome of scoring models, by role, that these clients have."""
    scores = {role: _score(shares, predicted) for role, predicted in roles.items()}
    rows = np.concatenate([shares.indices["test"][client] for client in clients])
    call = PredictCall(of, clients[0], "net", tuple(clients), 0, "test", 1, 0, None, None)
    return Scored(call, {r: s for r, (s, _) in scores.items()}, {r: p[rows] for r, (_, p) in scores.items()})


def _evaluate(shares, predictions, by="labels"):
    done = [_done(shares, [client], model=predicted) for client, predicted in enumerate(predictions)]
    return evaluate(done, shares, "test", by)


def test_the_matrix_of_two_clients_by_hand() -> None:
    shares = _shares([[3, 1], [0, 2]], test=[0, 0, 1, 1], owned=[[0, 1, 2], [3]])
    found = _evaluate(shares, [[0, 0, 1, 0], [1, 1, 1, 1]])
    # recalls of the first: 1 and 1/2; of the second: 0 and 1. Partition: (3/4, 1/4) and (0, 1).
    assert found["matrix"]["label"] == [[0.875, 0.5], [0.25, 1.0]]
    assert found["matrix"]["local"] == [[1.0, 0.0], [pytest.approx(1 / 3), 1.0]]
    assert found["matrix"]["primary"] == "label"
    assert found["matrix"]["predictor_of_client"] == [0, 1]
    metrics = found["metrics"]
    assert metrics["personalization"] == (0.875 + 1) / 2
    assert metrics["generalization"] == (0.5 + 0.25) / 2
    assert metrics["worst_client"] == 0.875
    assert metrics["global_accuracy"] == pytest.approx((0.75 + 0.5) / 2)
    assert metrics["balanced_accuracy"] == pytest.approx((0.75 + 0.5) / 2)
    assert (found["rarest_class"], metrics["rarest_recall"]) == ("a", 0.5)  # a tie goes to the lower id
    assert metrics["n"] == 4
    assert found["undefined"] == {}


def test_by_sites_the_clients_own_images_count() -> None:
    shares = _shares([[3, 1], [0, 2]], test=[0, 0, 1, 1], owned=[[0, 1, 2], [3]])
    found = _evaluate(shares, [[0, 0, 1, 0], [1, 1, 1, 1]], by="sites")
    assert found["matrix"]["primary"] == "local"
    assert found["metrics"]["personalization"] == 1.0
    assert found["metrics"]["generalization"] == pytest.approx((0 + 1 / 3) / 2)


@pytest.mark.parametrize(
    ("by", "expected"),
    [("labels", (10 / 16 + 1 / 2 + 7 / 16 + 3 / 8) / 4), ("sites", (0 + 1 + 1 / 2 + 0) / 4)],
)
def test_unseen_clients_by_hand(by, expected) -> None:
    shares = _shares([[3, 1], [0, 2]], test=[0, 0, 1, 1, 0, 1, 1, 0], owned=[[0], [2]])
    held_out = HeldOut({"test": [np.array([1, 3]), np.array([4, 6])]}, np.array([[1, 3], [2, 2]]))
    # recalls of the first model: 1/4 and 3/4; of the second: 1/4 and 1/2. Held out: (1/4, 3/4) and (1/2, 1/2).
    predictions = [[1, 1, 1, 0, 0, 1, 1, 1], [1, 1, 1, 1, 1, 0, 0, 0]]
    found = _evaluate(replace(shares, held_out=held_out), predictions, by=by)
    assert found["metrics"]["unseen"] == pytest.approx(expected)
    assert found["unseen_role"] == "model"


def test_three_clients_with_one_predictor_have_one_row() -> None:
    shares = _shares([[2, 0], [1, 1], [0, 2]], test=[0, 0, 1, 1, 1], owned=[[0, 1], [2, 3], [4]])
    found = _evaluate(shares, [[0, 1, 1, 1, 0]] * 3)
    assert found["matrix"]["predictor_of_client"] == [0, 0, 0]
    assert found["matrix"]["label"] == [[0.5, pytest.approx((1 / 2 + 2 / 3) / 2), pytest.approx(2 / 3)]]
    assert found["metrics"]["personalization"] == pytest.approx(found["metrics"]["generalization"], abs=1e-12)


def test_what_is_undefined_is_left_out_of_the_mean_and_of_its_count_and_counted() -> None:
    shares = _shares([[2, 0, 0], [0, 2, 0], [0, 0, 2]], test=[0, 0, 1, 1], owned=[[0, 1], [2, 3], []])
    found = _evaluate(shares, [[0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]])
    # nobody can be tested on the third client's class: its column is undefined, in both matrices
    assert found["matrix"]["label"] == [[1.0, 0.0, None], [0.5, 0.5, None]]
    assert found["matrix"]["local"] == [[1.0, 0.0, None], [0.5, 0.5, None]]
    assert found["metrics"]["personalization"] == (1.0 + 0.5) / 2
    assert found["metrics"]["generalization"] == (0.0 + 0.5 + 1.0 + 0.0) / 4
    assert found["undefined"]["personalization"] == 1
    assert found["undefined"]["generalization"] == 2


def test_a_class_that_is_not_tested_is_left_out_of_a_clients_mixture() -> None:
    shares = _shares([[1, 1, 2], [2, 2, 0]], test=[0, 1], owned=[[0], [1]])
    found = _evaluate(shares, [[0, 0], [0, 1]])
    assert found["matrix"]["label"] == [[0.5, 0.5], [1.0, 1.0]]


def test_nothing_defined_is_no_number() -> None:
    shares = _shares([[1, 0, 2]], test=[1], owned=[[]])
    metrics = _evaluate(shares, [[1]])["metrics"]
    assert metrics["generalization"] is None
    assert metrics["worst_client"] == metrics["personalization"]
    assert metrics["ece"] is None
    assert metrics["n"] == 0


def test_the_rarest_class_is_one_that_has_training_images() -> None:
    shares = _shares([[5, 0, 2], [3, 0, 1]], test=[0, 1, 2, 2], owned=[[0, 1], [2, 3]])
    found = _evaluate(shares, [[0, 0, 2, 0], [0, 0, 2, 2]])
    assert found["rarest_class"] == "c"
    assert found["metrics"]["rarest_recall"] == (0.5 + 1.0) / 2


@pytest.mark.parametrize(("clients", "expected"), [(19, None), (20, 1 / 2), (29, 1 / 2), (39, 2 / 3)])
def test_the_worst_decile_from_twenty_clients_on(clients, expected) -> None:
    """Only the first client's predictor is wrong on its owner's image."""
    shares = _shares([[1, 1]] * clients, test=[0] * clients, owned=[[client] for client in range(clients)])
    predictions = [[int(client == 0)] + [0] * (clients - 1) for client in range(clients)]
    metrics = _evaluate(shares, predictions, by="sites")["metrics"]
    assert metrics.get("worst_decile") == (expected and pytest.approx(expected))
    assert metrics["worst_client"] == 0
    assert metrics["personalization"] == pytest.approx((clients - 1) / clients)


def test_every_role_has_its_own_summary_and_the_first_is_the_headline() -> None:
    shares = _shares([[1, 1], [1, 1]], test=[0, 1], owned=[[0], [1]])
    done = [_done(shares, [client], good=[0, 1], bad=[1, 0]) for client in range(2)]
    found = evaluate(done, shares, "test", "labels")
    assert (found["role"], list(found["roles"])) == ("good", ["bad"])
    assert (found["metrics"]["personalization"], found["roles"]["bad"]["metrics"]["personalization"]) == (1.0, 0.0)


def test_models_in_common_come_after_the_clients_own_and_count_for_each_client() -> None:
    shares = _shares([[1, 1], [1, 1], [1, 1]], test=[0, 1, 0], owned=[[0], [1], [2]])
    common = _done(shares, [2, 0], of="received", common=[0, 0, 0])
    own = [_done(shares, [client], own=[0, 1, 0]) for client in range(3)]
    found = evaluate([common, *own], shares, "test", "sites")
    assert (found["role"], list(found["roles"])) == ("own", ["common"])
    assert found["roles"]["common"]["matrix"]["predictor_of_client"] == [0, None, 0]
    assert found["roles"]["common"]["metrics"]["personalization"] == 1.0
    assert found["roles"]["common"]["undefined"]["personalization"] == 1
    assert found["roles"]["common"]["metrics"]["n"] == 2


def test_a_global_model_scores_everywhere_the_same(go) -> None:
    test = go("fedavg", **{"partitioner.alpha": 0.2}).record["test"]
    assert test["matrix"]["predictor_of_client"] == [0, 0, 0]
    assert len(test["matrix"]["label"]) == 1
    assert test["metrics"]["personalization"] == pytest.approx(test["metrics"]["generalization"], abs=1e-12)


def test_local_models_differ_and_prefer_their_own(go) -> None:
    test = go("local", rounds=6, steps=10, **{"partitioner.alpha": 0.05, "partitioner.min_size": 4}).record["test"]
    assert test["matrix"]["predictor_of_client"] == [0, 1, 2]
    assert test["metrics"]["personalization"] > test["metrics"]["generalization"] + 0.2


def test_a_multi_label_task_is_tested_on_the_clients_own_images(go) -> None:
    test = go("fedavg", **{"dataset.labels": "multi-label"}).record["test"]
    assert test["matrix"]["primary"] == "local"
    assert 0 < test["metrics"]["personalization"] <= 1
    assert test["metrics"]["n"] == 30


def test_sites_are_tested_on_their_own_images(go) -> None:
    test = go("fedavg", partitioner="sites", **{"dataset.sites": 3}).record["test"]
    assert test["matrix"]["primary"] == "local"


def test_the_record_holds_what_the_scores_follow_from(go) -> None:
    test = go("local").record["test"]
    assert len(test["correct"]) == 3
    assert test["metrics"]["n"] == 30
