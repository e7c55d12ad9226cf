"""FedProto's formulas by hand, what it equals without them, and faults that public code has."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace

import pytest
import torch

from fedbench_core import RunSpec, run
from fedbench_core.api import Payload, RequestError, Task, Training, Update
from fedbench_core.federation.assembly import resolve
from fedbench_core.learning import class_means, fit
from fedbench_core.parts.aggregators import ClassMeans
from fedbench_core.runner import How
from fedbench_core.testing.toys import ToyBuilder, ToyFederation, toy_client, toy_moment
from fedbench_fedproto import FedProto

TASK = Task("multi-class", ("benign", "malignant", "normal"))
RECEIVED = Payload(
    {"prototypes": torch.tensor([[0.0, 0.0], [3.0, 4.0], [9.0, 9.0]]), "counts": torch.tensor([1, 1, 0])}
)


def _federation(update: FedProto, backbones=("toy8", "toy12"), weighting="images") -> ToyFederation:
    clients = [toy_client(number, backbone, 16 + 4 * number) for number, backbone in enumerate(backbones)]
    return ToyFederation(update, clients, aggregator=ClassMeans(weighting))


@pytest.mark.parametrize(
    ("drawn", "embeddings", "labels", "expected"),
    [
        ("images", [[1.0, 1.0], [0.0, 0.0]], [0, 1], ((1 + 1) / 2 + (9 + 16) / 2) / 2),
        ("classes", [[1.0, 1.0], [0.0, 0.0]], [0, 1], 2**0.5 + 5),
        ("classes", [[1.0, 1.0], [3.0, 1.0]], [0, 0], 5**0.5),  # their mean is (2, 1)
        ("classes", [[1.0, 1.0], [0.0, 0.0]], [0, 2], 2**0.5),  # class 2 has no prototype
        ("classes", [[1.0, 1.0]], [2], 0),
    ],
)
def test_distance_to_the_received_prototypes(drawn, embeddings, labels, expected) -> None:
    part, members = FedProto(drawn=drawn, size=2), TASK.members(torch.tensor(labels))
    assert part.distance(torch.tensor(embeddings), members, RECEIVED).item() == pytest.approx(expected, rel=1e-6)
    assert part.distance(torch.tensor(embeddings), members, None).item() == 0


@pytest.mark.parametrize("drawn", ["images", "classes"])
def test_gradient_is_zero_at_the_prototype(drawn) -> None:
    embeddings = torch.tensor([[0.0, 0.0], [3.0, 4.0]], requires_grad=True)
    FedProto(drawn=drawn, size=2).distance(embeddings, TASK.members(torch.tensor([0, 1])), RECEIVED).backward()
    assert not embeddings.grad.any()


def test_step_is_that_of_the_paper() -> None:
    """One step of gradient descent on CE + lambda times the mean squared difference; class 2 has no prototype."""
    client, ctx = toy_client(), toy_moment(1, training=Training(steps=1, batch_size=16, lr=0.1, momentum=0.0))
    update = FedProto(strength=3.0, size=8)
    update.setup(client, ctx)
    net = copy.deepcopy(client.models["model"]).train()
    images, labels = client.train.tensors()
    prototypes = torch.arange(24.0).reshape(3, 8) / 24
    outputs = net.outputs(images)
    own = -outputs.logits.log_softmax(dim=1)[torch.arange(16), labels].mean()
    distance = sum(((outputs.embedding[n] - prototypes[y]) ** 2).sum() / 8 for n, y in enumerate(labels) if y < 2) / 16
    (own + 3.0 * distance).backward()
    received = Payload({"prototypes": prototypes, "counts": torch.tensor([2, 1, 0])})
    metrics = update.train(client, received, ctx).metrics
    after = dict(client.models["model"].named_parameters())
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(after[name], parameter - 0.1 * parameter.grad, rtol=0, atol=1e-6)
    found = [metrics["loss"], metrics["distance"]]
    assert found == pytest.approx([own.item(), 3.0 * distance.item()], rel=1e-5)


def test_embeddings_that_are_too_short_are_refused() -> None:
    client, ctx = toy_client(), toy_moment()
    with pytest.raises(RequestError, match=r"--set local_update\.size=8"):
        FedProto(size=9).check(client, ctx)
    assert FedProto(size=8).check(client, ctx) == []
    (note,) = FedProto(size=4).check(client, ctx)
    assert "toy8" in note
    assert "from 8 to 4" in note


def test_without_strength_it_is_training_alone_to_the_bit_although_prototypes_travel() -> None:
    federation = _federation(FedProto(strength=0, size=8))
    for number in range(3):
        federation.round(number)
    for client in federation.clients:
        alone = ToyBuilder().backbone(client.backbone)
        for number in range(3):
            fit(alone, client.train, toy_moment(number, node=client.id))
        assert Payload.of(client.models["model"]).to_bytes() == Payload.of(alone).to_bytes()
    assert set(federation.received.tensors) == {"prototypes", "counts"}


def test_strength_changes_training_from_the_second_round_on() -> None:
    pulled, free = (_federation(FedProto(strength=strength, size=8)) for strength in (5.0, 0.0))
    for number in range(2):
        sent = [group.round(number)[0].payload.tensors["prototypes"] for group in (pulled, free)]
        assert torch.equal(*sent) == (number == 0)


@pytest.mark.parametrize("weighting", ["images", "clients"])
def test_global_prototype_is_the_mean_over_the_clients(weighting) -> None:
    federation = _federation(FedProto(size=8), weighting=weighting)
    sent = [update.payload.tensors for update in federation.round(0).values()]
    # 16 images have the classes 6, 5 and 5 times, 20 images 7, 7 and 6 times
    assert [one["counts"].tolist() for one in sent] == [[6, 5, 5], [7, 7, 6]]
    for label, (first, second) in enumerate(((6, 7), (5, 7), (5, 6))):
        share = first / (first + second) if weighting == "images" else 0.5
        mean = share * sent[0]["prototypes"][label] + (1 - share) * sent[1]["prototypes"][label]
        torch.testing.assert_close(federation.received.tensors["prototypes"][label], mean)
    assert federation.received.tensors["counts"].tolist() == [13, 12, 11]


def test_prototypes_of_different_networks_approach_each_other() -> None:
    def distance(strength: float) -> float:
        group = _federation(FedProto(strength=strength, size=8))
        for number in range(3):
            sent = [update.payload.tensors["prototypes"] for update in group.round(number).values()]
        return (sent[0] - sent[1]).norm().item()

    assert distance(20.0) < distance(0.0) / 2


def test_multi_label_images_are_predicted_by_the_head() -> None:
    federation = _federation(FedProto(size=8))
    federation.round(0)
    client, ctx = federation.clients[0], federation.context(0, 0)
    assert list(federation.update.predictors(client, federation.received, ctx)) == ["nearest", "head"]
    several = replace(ctx, task=Task("multi-label", TASK.classes))
    assert list(federation.update.predictors(client, federation.received, several)) == ["head"]


def _assert_prototypes_are_of_the_trained_network(update: FedProto) -> None:
    federation = _federation(update, ("toy8",))
    sent = federation.round(0)[0].payload.tensors
    client = federation.clients[0]
    means, _ = class_means(client.models["model"], client.train, TASK, lambda outputs: outputs.embedding)
    torch.testing.assert_close(sent["prototypes"], means, rtol=0, atol=1e-6)


def _assert_class_of_others_can_be_predicted(update: FedProto) -> None:
    """Client 0 has no image of class 2, and is shown one that lies on that prototype."""
    federation = _federation(update, ("toy8", "toy8"))
    lacking = federation.clients[0].train
    federation.clients[0].train = lacking.pick((lacking.targets() != 2).nonzero().flatten().numpy())
    federation.round(0)
    client = federation.clients[0]
    images = client.train.tensors()[0][:1]
    embedding = client.models["model"].eval().outputs(images).embedding.detach()
    prototypes = torch.cat([embedding + 9, embedding + 9, embedding])
    received = Payload({"prototypes": prototypes, "counts": torch.tensor([5, 5, 5])})
    nearest = update.predictors(client, received, federation.context(0, 0))["nearest"]
    assert nearest(images).argmax(dim=1).tolist() == [2]


def test_prototypes_are_of_the_trained_network_in_evaluation_mode() -> None:
    _assert_prototypes_are_of_the_trained_network(FedProto(size=8))


def test_class_that_only_others_have_can_be_predicted() -> None:
    _assert_class_of_others_can_be_predicted(FedProto(size=8))


@dataclass(frozen=True)
class Moving(FedProto):
    """As HtFLlib's and PFLlib's: means over all batches of training, while the weights change."""

    def train(self, client, received, ctx) -> Update:
        update, seen = super().train(client, received, ctx), []
        net = ctx.build(client.backbone)
        fit(net, client.train, ctx, loss=lambda batch, outputs, _net: self._kept(batch, outputs, seen, ctx))
        members = torch.cat([TASK.members(labels) for labels, _ in seen]).float()
        means = members.T @ torch.cat([one for _, one in seen]) / members.sum(dim=0)[:, None]
        tensors = {**update.payload.tensors, "prototypes": means}
        return replace(update, payload=Payload(tensors))

    def _kept(self, batch, outputs, seen, ctx):
        seen.append((batch.labels, outputs.embedding.detach()))
        return ctx.task.loss(outputs.logits, batch.labels)


@dataclass(frozen=True)
class OwnClassesOnly(FedProto):
    """As the authors' code: predicts among the classes that the client has images of."""

    def predictors(self, client, received, ctx) -> Mapping[str, torch.nn.Module]:
        present = ctx.task.members(client.train.targets()).sum(dim=0)
        tensors = {**received.tensors, "counts": received.tensors["counts"] * (present > 0)}
        return super().predictors(client, Payload(tensors), ctx)


def test_faults_of_public_code_are_caught() -> None:
    with pytest.raises(AssertionError, match="Tensor-likes are not close"):
        _assert_prototypes_are_of_the_trained_network(Moving(size=8))
    with pytest.raises(AssertionError, match=r"== \[2\]"):
        _assert_class_of_others_can_be_predicted(OwnClassesOnly(size=8))


def test_weights_stay_and_the_messages_are_small(tmp_path) -> None:
    """With an embedding of 64 entries and 8 classes: 8 * 64 floats and 8 counts, beside the header.

    The prototypes of the last round are sent as well, because the headline model predicts with them.
    """
    settings = {
        "method": "fedproto",
        "backbones": "test_resnet,test_efficientnet",
        "clients": 2,
        "rounds": 2,
        "steps": 1,
        "evaluate_every": 0,
        "set": {"backbone.stem": "timm", "dataset.train": 64, "dataset.val": 64, "dataset.test": 64},
    }
    record = run(RunSpec.of(settings), How(out=tmp_path, executor="serial")).record
    assert (record["test"]["role"], list(record["test"]["roles"])) == ("nearest", ["head"])
    assert record["test"]["matrix"]["predictor_of_client"] == [0, 1]
    prototypes = 8 * 64 * 4 + 8 * 8
    for way, messages in {"up": 4, "down": 4}.items():
        assert prototypes < record["costs"][f"bytes_{way}"] / messages < prototypes + 512


def test_aggregator_and_topology_are_pinned() -> None:
    for part, other in (("aggregator", "mean"), ("topology", "ring")):
        with pytest.raises(RequestError, match=part):
            resolve(RunSpec.of({"method": "fedproto", part: other}))
