"""FD's formulas by hand, what it equals without distillation, and faults that public code has."""

import copy
from dataclasses import dataclass, replace
from math import log

import pytest
import torch

from fedbench_core.api import SERVER, AggregatorState, Message, Payload, Task, Training
from fedbench_core.learning import fit
from fedbench_core.parts.aggregators import ClassMeans
from fedbench_core.testing.toys import ToyBuilder, ToyFederation, toy_client, toy_moment
from fedbench_fd import FD, ClassSums, distance

TASK = Task("multi-class", ("a", "b", "c"))


def _federation(update, backbones=("toy8", "toy12", "toy8")) -> ToyFederation:
    members = [toy_client(number, name, 16 + 4 * number) for number, name in enumerate(backbones)]
    return ToyFederation(update, members, aggregator=ClassMeans())


def _of_class(client, label):
    """The same client with images of one class only."""
    rows = (client.train.labels[:, 0] == label).nonzero()[0]
    client.train = client.train.pick(rows)
    return client


def _assert_means_of_one_turn(tracker) -> None:
    """Two images of class 0, one of class 2, none of class 1; a new tracker for every turn."""
    seen = tracker(3, "cpu")
    logits = torch.tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [0.0, 6.0, 0.0]])
    seen.add(logits[:2], TASK.members(torch.tensor([0, 2])))
    seen.add(logits[2:], TASK.members(torch.tensor([0])))
    assert seen.means().tolist() == [[0.5, 4.0, 1.5], [0.0, 0.0, 0.0], [3.0, 2.0, 1.0]]
    assert seen.counts.tolist() == [2, 0, 1]


def test_means_by_class_of_one_turn() -> None:
    _assert_means_of_one_turn(ClassSums)


def test_distance_by_hand() -> None:
    # targets (1/2, 1/4, 1/4) for class 0; logits (ln 4, 0, 0) have probabilities (2/3, 1/6, 1/6)
    targets = torch.tensor([[0.5, 0.25, 0.25], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    logits = torch.tensor([[log(4), 0.0, 0.0], [5.0, 1.0, 0.0]])
    members = TASK.members(torch.tensor([0, 1])) & torch.tensor([True, False, True])
    expected = -(0.5 * log(2 / 3) + 0.5 * log(1 / 6)) / 2  # the second image has no target, and counts in the mean
    assert distance(TASK, logits, members, targets).item() == pytest.approx(expected)


def _sent(means, counts, rounds) -> Payload:
    tensors = {"logits": torch.tensor(means), "counts": torch.tensor(counts, dtype=torch.int32)}
    return Payload({**tensors, "rounds": torch.tensor(rounds, dtype=torch.int32)})


def _published(*payloads) -> Payload:
    accumulator = ClassMeans().start(AggregatorState(SERVER), toy_moment(0))
    for sender, payload in enumerate(payloads):
        accumulator.add(Message(sender, payload, 1.0))
    return accumulator.result()


@pytest.mark.parametrize(("leave", "target"), [(True, [4.0, 0.0, 0.0]), (False, [8 / 3, 2.0, 0.0])])
def test_own_part_is_taken_out_of_the_mean(leave, target) -> None:
    zero = [0.0, 0.0, 0.0]
    mine = _sent([[0.0, 6.0, 0.0], [1.0, 1.0, 1.0], zero], [1, 1, 0], [3, 3, 3])
    others = [_sent([[value, 0.0, 0.0], zero, zero], [1, 0, 0], [3, 3, 3]) for value in (2.0, 6.0)]
    client = toy_client(0)
    client.memory.update(mine.tensors)
    targets, known = FD(leave_one_out=leave).targets(client, _published(mine, *others), TASK)
    torch.testing.assert_close(targets[0], torch.tensor(target).softmax(dim=0))
    assert known.tolist() == [True, not leave, False]  # nobody else has class 1, nobody at all class 2


def test_mean_of_an_earlier_round_is_taken_as_it_is() -> None:
    """The client sent in round 2, and the mean of class 0 is of round 3, in which it was absent."""
    mean = _sent([[2.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], [1, 0, 0], [3, 0, 0])
    client = toy_client(0)
    client.memory.update(_sent([[9.0, 9.0, 0.0]] * 3, [1, 1, 1], [2, 2, 2]).tensors)
    targets, _ = FD().targets(client, _published(mean), TASK)
    torch.testing.assert_close(targets[0], torch.tensor([2.0, 0.0, 0.0]).softmax(dim=0))


def test_weights_are_images_or_equal() -> None:
    counts = {
        weights: _federation(FD(weights=weights)).round(0)[0].payload.tensors["counts"]
        for weights in ("clients", "images")
    }
    assert counts["clients"].tolist() == [1, 1, 1]
    assert counts["images"].sum() == 3 * 8  # three steps of eight images


def _assert_targets_are_distributions(update) -> None:
    federation = _federation(update)
    federation.round(0)
    targets, known = update.targets(federation.clients[0], federation.received, TASK)
    assert known.all()
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(3))
    assert (targets >= 0).all()


@pytest.mark.parametrize("average", ["logits", "probabilities"])
def test_targets_are_distributions(average) -> None:
    _assert_targets_are_distributions(FD(average=average))


def test_step_is_that_of_the_paper() -> None:
    """One step of gradient descent on cross-entropy + gamma times that to the targets; class 2 has no target."""
    client, ctx = toy_client(), toy_moment(1, training=Training(steps=1, batch_size=16, lr=0.1, momentum=0.0))
    update = FD(strength=3.0)
    update.setup(client, ctx)
    net = copy.deepcopy(client.models["model"]).train()
    images, labels = client.train.tensors()
    # softmax of (ln 6, ln 3, 0) is (0.6, 0.3, 0.1)
    targets = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.0, 0.0, 0.0]])
    means = [[log(6), log(3), 0.0], [log(2), log(5), log(3)], [7.0, 8.0, 9.0]]
    logs = net(images).log_softmax(dim=1)
    own = -logs[torch.arange(16), labels].mean()
    distillation = -(targets[labels] * logs).sum(dim=1).mean()
    (own + 3.0 * distillation).backward()
    metrics = update.train(client, _sent(means, [1, 1, 0], [0, 0, 0]), ctx).metrics
    after = dict(client.models["model"].named_parameters())
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(after[name], parameter - 0.1 * parameter.grad, rtol=0, atol=1e-6)
    found = [metrics["loss"], metrics["distillation"]]
    assert found == pytest.approx([own.item(), 3.0 * distillation.item()], rel=1e-5)


def test_without_distillation_it_is_training_alone_to_the_bit() -> None:
    federation, alone = _federation(FD(strength=0.0)), ToyBuilder().backbone("toy8")
    for number in range(3):
        federation.round(number)
        fit(alone, toy_client(0).train, toy_moment(number))
    assert Payload.of(federation.clients[0].models["model"]).to_bytes() == Payload.of(alone).to_bytes()


def test_class_that_others_lack_is_trained_without_target() -> None:
    clients = [_of_class(toy_client(0, images=24), 0), _of_class(toy_client(1, "toy12", 24), 1)]
    federation = ToyFederation(FD(), clients, aggregator=ClassMeans())
    federation.round(0)
    assert [one.metrics["distillation"] for one in federation.round(1).values()] == [0.0, 0.0]
    assert federation.received.tensors["counts"].tolist() == [1, 1, 0]


def test_message_holds_classes_times_classes_floats() -> None:
    tensors = _federation(FD()).round(0)[0].payload.tensors
    assert {name: value.numel() for name, value in tensors.items()} == {"logits": 9, "counts": 3, "rounds": 3}


def test_distillation_brings_predictions_nearer_to_the_targets() -> None:
    left = {}
    for strength in (0.0, 3.0):
        update = FD(strength=strength)
        federation = _federation(update)
        for number in range(2):
            targets, _ = update.targets(federation.clients[0], federation.received, TASK)
            federation.round(number)
        images, labels = federation.clients[0].train.tensors()
        logits = federation.clients[0].models["model"].eval()(images)
        left[strength] = distance(TASK, logits, TASK.members(labels), targets).item()
    assert left[3.0] < left[0.0]


def test_works_with_labels_of_several_classes() -> None:
    task = replace(TASK, kind="multi-label")
    members = torch.tensor([[True, True, False]])
    targets = torch.tensor([[0.5, 0.5, 0.5], [1.0, 0.5, 0.0], [0.0, 0.0, 0.0]])  # the mean of two: (3/4, 1/2, 1/4)
    logits = torch.tensor([[0.0, 0.0, log(3)]])  # probabilities 1/2, 1/2, 3/4
    expected = (2 * log(2) - 0.25 * log(0.75) - 0.75 * log(0.25)) / 3
    assert distance(task, logits, members, targets).item() == pytest.approx(expected)


class CountsFromOne(ClassSums):
    """As FedGen's tracker: counts start at 1, so that means are too small and an absent class has logits 0."""

    def __init__(self, classes, device) -> None:
        super().__init__(classes, device)
        self.counts += 1


@dataclass(frozen=True)
class RawTargets(FD):
    """As HtFLlib's: mean logits are the soft target."""

    def targets(self, client, received, task):
        targets, known = super().targets(client, received, task)
        return targets if received is None else received.tensors["logits"], known


def test_faults_of_public_code_are_caught() -> None:
    with pytest.raises(AssertionError):
        _assert_means_of_one_turn(CountsFromOne)
    shared = ClassSums(3, "cpu")
    shared.add(torch.ones(1, 3), TASK.members(torch.tensor([1])))
    with pytest.raises(AssertionError):
        _assert_means_of_one_turn(lambda *_: shared)  # never reset
    with pytest.raises(AssertionError):
        _assert_targets_are_distributions(RawTargets())
