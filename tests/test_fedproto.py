"""The formulas of the example fedbench-fedproto, worked by hand."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from fedbench_core.api import Client, Examples, Message, Outputs, Payload, RequestError, Task
from fedbench_core.learning import fit
from fedbench_core.testing.examples import moment
from fedbench_core.testing.toys import ToyBuild, toy_client, toy_moment

SOURCE = Path(__file__).parent / "examples" / "fedbench-fedproto" / "fedbench_fedproto.py"
TASK = Task("multi-class", ("benign", "malignant", "normal"))


@pytest.fixture(scope="module")
def fedproto():
    spec = spec_from_file_location("fedbench_fedproto_under_test", SOURCE)
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # a dataclass looks up its module there
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


class Pixels(nn.Module):
    """Its embedding of an image is the image; its head adds the pixels up."""

    def outputs(self, images):
        embedding = images.flatten(1)
        return Outputs(embedding.sum(dim=1, keepdim=True).repeat(1, 3), embedding, ())


def _examples(pixels, labels) -> Examples:
    """Images of one row; 0 is scaled to -1, 255 to 1."""
    images = np.array(pixels, np.uint8)[:, None]
    labels = np.array(labels, np.int64).reshape(len(images), -1)
    return Examples(images, labels, np.arange(len(images)), "none")


def _said(prototypes, counts) -> Payload:
    return Payload({"prototypes": torch.tensor(prototypes), "counts": torch.tensor(counts)})


def _merged(part, *payloads, standing=None):
    merge = part.open(moment(), {}, standing)
    for sender, payload in enumerate(payloads):
        merge.add(Message(sender, payload, 100.0))
    back = merge.close().tensors
    return back["prototypes"].tolist(), back["counts"].tolist()


def test_a_prototype_is_the_mean_embedding_of_its_class(fedproto) -> None:
    examples = _examples([[0, 0], [0, 255], [255, 255]], [0, 0, 2])
    said = fedproto.prototypes(Pixels(), examples, TASK, 2)
    assert said.tensors["prototypes"].tolist() == [[-1, 0], [0, 0], [1, 1]]
    assert said.tensors["counts"].tolist() == [2, 0, 1]
    assert said.tensors["counts"].dtype == torch.int64


def test_prototypes_of_many_images_at_a_time(fedproto) -> None:
    pixels = np.random.default_rng(0).integers(0, 2, (700, 2)) * 255
    labels = np.arange(700) % 3
    said = fedproto.prototypes(Pixels(), _examples(pixels, labels), TASK, 2)
    by_hand = np.stack([(pixels[labels == k] / 127.5 - 1).mean(axis=0) for k in range(3)])
    np.testing.assert_allclose(said.tensors["prototypes"].numpy(), by_hand, atol=1e-6)
    assert said.tensors["counts"].tolist() == [234, 233, 233]


def test_an_image_of_several_labels_belongs_to_each(fedproto) -> None:
    task = Task("multi-label", TASK.classes)
    examples = _examples([[0, 0], [255, 255]], [[1, 0, 1], [0, 0, 1]])
    said = fedproto.prototypes(Pixels(), examples, task, 2)
    assert said.tensors["prototypes"].tolist() == [[-1, -1], [0, 0], [0, 0]]
    assert said.tensors["counts"].tolist() == [1, 0, 2]


FIRST = _said([[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]], [30, 0, 0])
SECOND = _said([[5.0, 1.0], [2.0, 4.0], [0.0, 0.0]], [10, 5, 0])


def test_a_global_prototype_is_the_mean_over_the_clients_that_have_the_class(fedproto) -> None:
    # class 0: (30 * 1 + 10 * 5) / 40 = 2 by images, (1 + 5) / 2 = 3 by clients; class 1 is the second client's alone
    assert _merged(fedproto.ClassMeans(), FIRST, SECOND) == ([[2, 1], [2, 4], [0, 0]], [30, 5, 0])
    assert _merged(fedproto.ClassMeans("clients"), FIRST, SECOND) == ([[3, 1], [2, 4], [0, 0]], [30, 5, 0])


def test_a_class_that_nobody_present_has_keeps_its_prototype(fedproto) -> None:
    standing = _said([[9.0, 9.0], [9.0, 9.0], [7.0, 8.0]], [1, 1, 4])
    merged = _merged(fedproto.ClassMeans(), FIRST, SECOND, standing=standing)
    assert merged == ([[2, 1], [2, 4], [7, 8]], [30, 5, 4])


RECEIVED = _said([[0.0, 0.0], [3.0, 4.0], [9.0, 9.0]], [1, 1, 0])


@pytest.mark.parametrize(
    ("drawn", "embeddings", "labels", "expected"),
    [
        ("images", [[1.0, 1.0], [0.0, 0.0]], [0, 1], ((1 + 1) / 2 + (9 + 16) / 2) / 2),
        ("images", [[1.0, 1.0], [0.0, 0.0]], [0, 2], ((1 + 1) / 2 + 0) / 2),  # nobody knows class 2
        ("classes", [[1.0, 1.0], [0.0, 0.0]], [0, 1], 2**0.5 + 5),
        ("classes", [[1.0, 1.0], [3.0, 1.0]], [0, 0], 5**0.5),  # their mean is (2, 1)
        ("classes", [[1.0, 1.0], [0.0, 0.0]], [0, 2], 2**0.5),
        ("classes", [[1.0, 1.0]], [2], 0),
    ],
)
def test_the_distance_to_what_was_received(fedproto, drawn, embeddings, labels, expected) -> None:
    part, members = fedproto.FedProto(drawn=drawn, size=2), TASK.members(torch.tensor(labels))
    assert part.distance(torch.tensor(embeddings), members, RECEIVED).item() == pytest.approx(expected, rel=1e-6)
    assert part.distance(torch.tensor(embeddings), members, None).item() == 0


def test_an_image_of_several_labels_is_drawn_to_all_that_are_known(fedproto) -> None:
    members = torch.tensor([[True, True, True], [False, False, True]])
    distance = fedproto.FedProto(size=2).distance(torch.tensor([[0.0, 0.0], [0.0, 0.0]]), members, RECEIVED)
    assert distance.item() == ((0 + 12.5) / 2 + 0) / 2


@pytest.mark.parametrize("drawn", ["images", "classes"])
def test_what_is_where_it_should_be_is_not_moved(fedproto, drawn) -> None:
    embeddings = torch.tensor([[0.0, 0.0], [3.0, 4.0]], requires_grad=True)
    fedproto.FedProto(drawn=drawn, size=2).distance(embeddings, TASK.members(torch.tensor([0, 1])), RECEIVED).backward()
    assert not embeddings.grad.any()


def test_each_image_is_drawn_in_proportion_to_its_distance(fedproto) -> None:
    embeddings = torch.tensor([[1.0, 3.0], [0.0, 0.0]], requires_grad=True)
    fedproto.FedProto(size=2).distance(embeddings, TASK.members(torch.tensor([0, 1])), RECEIVED).backward()
    # 2 (z - C) / (2 entries * 2 images)
    assert embeddings.grad.tolist() == [[0.5, 1.5], [-1.5, -2.0]]


def test_the_nearest_prototype_predicts(fedproto) -> None:
    images = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
    logits = fedproto.Nearest(Pixels(), RECEIVED, 3, 2)(images)
    assert logits[0, :2].tolist() == pytest.approx([-1, -(18**0.5)], rel=1e-6)
    assert TASK.probabilities(logits)[0, 2].item() == 0
    assert fedproto.Nearest(Pixels(), None, 3, 2)(images).tolist() == [[1, 1, 1]]  # the head's


def test_embeddings_of_another_length_are_averaged(fedproto) -> None:
    outputs = Outputs(torch.empty(0), torch.tensor([[1.0, 2.0, 3.0, 4.0]]), ())
    assert fedproto.shortened(outputs, 2).tolist() == [[1.5, 3.5]]
    assert torch.equal(fedproto.shortened(outputs, 4), outputs.embedding)


def test_embeddings_that_are_too_short_are_refused_before_a_run(fedproto) -> None:
    client, ctx = toy_client(), toy_moment()
    with pytest.raises(RequestError, match=r"--set local_update\.size=8"):
        fedproto.FedProto(size=9).check(client, ctx)
    assert fedproto.FedProto(size=8).check(client, ctx) == []
    assert fedproto.FedProto(size=4).check(client, ctx) == ["The embeddings of toy8 are averaged from 8 to 4 entries."]


def test_without_strength_it_is_training_alone_to_the_bit(fedproto) -> None:
    part, client, ctx = fedproto.FedProto(strength=0, size=8), toy_client(), toy_moment(1)
    part.setup(client, ctx)
    received = Payload({"prototypes": torch.ones(3, 8), "counts": torch.ones(3, dtype=torch.int64)})
    reply = part.train(client, received, ctx)
    alone = ToyBuild()("toy8")
    assert fit(alone, toy_client(), ctx) == {name: reply.metrics[name] for name in ("loss", "steps")}
    assert Payload.of(client.models["model"]).to_bytes() == Payload.of(alone).to_bytes()


def test_networks_of_different_kinds_come_nearer_to_each_other(fedproto) -> None:
    """Two rounds of two clients, with and without strength: with it their prototypes end closer together."""

    def apart(strength: float) -> float:
        part, received = fedproto.FedProto(strength=strength, size=8), None
        clients: list[Client] = [toy_client(0, "toy8"), toy_client(1, "toy12")]
        for number in range(3):
            ctx = toy_moment(number)
            for client in clients:
                if not number:
                    part.setup(client, ctx)
            said = [part.train(client, received, ctx).payload for client in clients]
            merge = fedproto.ClassMeans().open(ctx, {}, received)
            for client, payload in zip(clients, said, strict=True):
                merge.add(Message(client.id, payload, 16.0))
            received = merge.close()
        return (said[0].tensors["prototypes"] - said[1].tensors["prototypes"]).norm().item()

    assert apart(5.0) < apart(0.0) / 2
