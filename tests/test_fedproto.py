"""The formulas of the example fedbench-fedproto, computed by hand."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from fedbench_core.api import Examples, Outputs, Payload, RequestError, Task
from fedbench_core.learning import fit
from fedbench_core.parts.aggregators import ClassMeans
from fedbench_core.testing.toys import ToyFederation, toy_client, toy_moment

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
    """The embedding of an image is the image; each logit is the sum of its pixels."""

    def outputs(self, images):
        embedding = images.flatten(1)
        return Outputs(embedding.sum(dim=1, keepdim=True).repeat(1, 3), embedding, ())


def _examples(pixels, labels) -> Examples:
    """Images of one row; pixels 0 and 255 are scaled to -1 and 1."""
    images = np.array(pixels, np.uint8)[:, None]
    labels = np.array(labels, np.int64).reshape(len(images), -1)
    return Examples(images, labels, np.arange(len(images)), "none")


def _payload(prototypes, counts) -> Payload:
    return Payload({"prototypes": torch.tensor(prototypes), "counts": torch.tensor(counts)})


def test_prototype_is_the_mean_embedding_of_its_class(fedproto) -> None:
    examples = _examples([[0, 0], [0, 255], [255, 255]], [0, 0, 2])
    sent = fedproto.prototypes(Pixels(), examples, TASK, 2)
    assert sent.tensors["prototypes"].tolist() == [[-1, 0], [0, 0], [1, 1]]
    assert sent.tensors["counts"].tolist() == [2, 0, 1]
    assert sent.tensors["counts"].dtype == torch.int64


def test_prototypes_of_several_batches_are_the_same(fedproto) -> None:
    pixels = np.random.default_rng(0).integers(0, 2, (700, 2)) * 255
    labels = np.arange(700) % 3
    sent = fedproto.prototypes(Pixels(), _examples(pixels, labels), TASK, 2)
    by_hand = np.stack([(pixels[labels == k] / 127.5 - 1).mean(axis=0) for k in range(3)])
    np.testing.assert_allclose(sent.tensors["prototypes"].numpy(), by_hand, atol=1e-6)
    assert sent.tensors["counts"].tolist() == [234, 233, 233]


def test_image_with_several_labels_counts_for_each(fedproto) -> None:
    task = Task("multi-label", TASK.classes)
    examples = _examples([[0, 0], [255, 255]], [[1, 0, 1], [0, 0, 1]])
    sent = fedproto.prototypes(Pixels(), examples, task, 2)
    assert sent.tensors["prototypes"].tolist() == [[-1, -1], [0, 0], [0, 0]]
    assert sent.tensors["counts"].tolist() == [1, 0, 2]


RECEIVED = _payload([[0.0, 0.0], [3.0, 4.0], [9.0, 9.0]], [1, 1, 0])


@pytest.mark.parametrize(
    ("drawn", "embeddings", "labels", "expected"),
    [
        ("images", [[1.0, 1.0], [0.0, 0.0]], [0, 1], ((1 + 1) / 2 + (9 + 16) / 2) / 2),
        ("images", [[1.0, 1.0], [0.0, 0.0]], [0, 2], ((1 + 1) / 2 + 0) / 2),  # class 2 has no prototype
        ("classes", [[1.0, 1.0], [0.0, 0.0]], [0, 1], 2**0.5 + 5),
        ("classes", [[1.0, 1.0], [3.0, 1.0]], [0, 0], 5**0.5),  # their mean is (2, 1)
        ("classes", [[1.0, 1.0], [0.0, 0.0]], [0, 2], 2**0.5),
        ("classes", [[1.0, 1.0]], [2], 0),
    ],
)
def test_distance_to_the_received_prototypes(fedproto, drawn, embeddings, labels, expected) -> None:
    part, members = fedproto.FedProto(drawn=drawn, size=2), TASK.members(torch.tensor(labels))
    assert part.distance(torch.tensor(embeddings), members, RECEIVED).item() == pytest.approx(expected, rel=1e-6)
    assert part.distance(torch.tensor(embeddings), members, None).item() == 0


def test_distance_of_an_image_with_several_labels_is_a_mean_over_known_ones(fedproto) -> None:
    members = torch.tensor([[True, True, True], [False, False, True]])
    distance = fedproto.FedProto(size=2).distance(torch.tensor([[0.0, 0.0], [0.0, 0.0]]), members, RECEIVED)
    assert distance.item() == ((0 + 12.5) / 2 + 0) / 2


@pytest.mark.parametrize("drawn", ["images", "classes"])
def test_gradient_is_zero_at_the_prototype(fedproto, drawn) -> None:
    embeddings = torch.tensor([[0.0, 0.0], [3.0, 4.0]], requires_grad=True)
    fedproto.FedProto(drawn=drawn, size=2).distance(embeddings, TASK.members(torch.tensor([0, 1])), RECEIVED).backward()
    assert not embeddings.grad.any()


def test_gradient_of_an_image_is_proportional_to_its_distance(fedproto) -> None:
    embeddings = torch.tensor([[1.0, 3.0], [0.0, 0.0]], requires_grad=True)
    fedproto.FedProto(size=2).distance(embeddings, TASK.members(torch.tensor([0, 1])), RECEIVED).backward()
    # 2 (z - C) / (2 entries * 2 images)
    assert embeddings.grad.tolist() == [[0.5, 1.5], [-1.5, -2.0]]


def test_nearest_prototype_predicts(fedproto) -> None:
    images = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
    logits = fedproto.Nearest(Pixels(), RECEIVED, 3, 2)(images)
    assert logits[0, :2].tolist() == pytest.approx([-1, -(18**0.5)], rel=1e-6)
    assert TASK.probabilities(logits)[0, 2].item() == 0
    assert fedproto.Nearest(Pixels(), None, 3, 2)(images).tolist() == [[1, 1, 1]]  # the head predicts


def test_embeddings_of_another_length_are_pooled(fedproto) -> None:
    outputs = Outputs(torch.empty(0), torch.tensor([[1.0, 2.0, 3.0, 4.0]]), ())
    assert fedproto.shortened(outputs, 2).tolist() == [[1.5, 3.5]]
    assert torch.equal(fedproto.shortened(outputs, 4), outputs.embedding)


def test_embeddings_that_are_too_short_are_refused(fedproto) -> None:
    client, ctx = toy_client(), toy_moment()
    with pytest.raises(RequestError, match=r"--set local_update\.size=8"):
        fedproto.FedProto(size=9).check(client, ctx)
    assert fedproto.FedProto(size=8).check(client, ctx) == []
    (note,) = fedproto.FedProto(size=4).check(client, ctx)
    assert "toy8" in note
    assert "from 8 to 4" in note


def test_training_without_strength_is_local_training_to_the_bit(fedproto) -> None:
    part, client, ctx = fedproto.FedProto(strength=0, size=8), toy_client(), toy_moment(1)
    part.setup(client, ctx)
    received = Payload({"prototypes": torch.ones(3, 8), "counts": torch.ones(3, dtype=torch.int64)})
    update = part.train(client, received, ctx)
    alone = ctx.build("toy8")
    assert fit(alone, client.train, ctx) == {name: update.metrics[name] for name in ("loss", "steps")}
    assert Payload.of(client.models["model"]).to_bytes() == Payload.of(alone).to_bytes()


def test_prototypes_of_different_networks_approach_each_other(fedproto) -> None:
    def distance(strength: float) -> float:
        clients = [toy_client(0, "toy8"), toy_client(1, "toy12")]
        group = ToyFederation(fedproto.FedProto(strength=strength, size=8), clients, aggregator=ClassMeans())
        for number in range(3):
            sent = [update.payload.tensors["prototypes"] for update in group.round(number).values()]
        return (sent[0] - sent[1]).norm().item()

    assert distance(20.0) < distance(0.0) / 2
