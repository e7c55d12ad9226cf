import numpy as np
import pytest
import torch

from fedbench_core.api import Backbone, Examples, Outputs, Task
from fedbench_core.learning import NearestPrototype, class_means, prototype_distance

TASK = Task("multi-class", ("benign", "malignant", "normal"))
SEVERAL = Task("multi-label", TASK.classes)
PROTOTYPES, COUNTS = torch.tensor([[0.0, 0.0], [3.0, 4.0], [9.0, 9.0]]), torch.tensor([1, 1, 0])


class Pixels(Backbone):
    """The embedding of an image is the image; each logit is the sum of its pixels."""

    def outputs(self, images):
        embedding = images.flatten(1)
        return Outputs(embedding.sum(dim=1, keepdim=True).repeat(1, 3), embedding, ())


def _examples(pixels, labels) -> Examples:
    """Images of one row; pixels 0 and 255 are scaled to -1 and 1."""
    images = np.array(pixels, np.uint8)[:, None]
    return Examples(images, np.array(labels, np.int64).reshape(len(images), -1), np.arange(len(images)), "none")


def _means(examples, task=TASK):
    return class_means(Pixels(), examples, task, lambda outputs: outputs.embedding)


def test_class_mean_is_the_mean_over_images_of_the_class() -> None:
    means, counts = _means(_examples([[0, 0], [0, 255], [255, 255]], [0, 0, 2]))
    assert means.tolist() == [[-1, 0], [0, 0], [1, 1]]
    assert counts.tolist() == [2, 0, 1]
    assert (means.dtype, counts.dtype) == (torch.float32, torch.int64)


def test_class_means_over_several_batches_are_the_same() -> None:
    pixels = np.random.default_rng(0).integers(0, 2, (700, 2)) * 255
    labels = np.arange(700) % 3
    means, counts = _means(_examples(pixels, labels))
    by_hand = np.stack([(pixels[labels == k] / 127.5 - 1).mean(axis=0) for k in range(3)])
    np.testing.assert_allclose(means.numpy(), by_hand, atol=1e-6)
    assert counts.tolist() == [234, 233, 233]


def test_class_means_count_an_image_for_each_of_its_labels() -> None:
    means, counts = _means(_examples([[0, 0], [255, 255]], [[1, 0, 1], [0, 0, 1]]), SEVERAL)
    assert means.tolist() == [[-1, -1], [0, 0], [0, 0]]
    assert counts.tolist() == [1, 0, 2]


def test_class_means_are_those_of_evaluation_mode_and_leave_statistics_alone() -> None:
    class Normalized(Pixels):
        def __init__(self) -> None:
            super().__init__()
            self.norm = torch.nn.BatchNorm1d(2)

        def outputs(self, images):
            return Outputs(torch.empty(0), self.norm(images.flatten(1)), ())

    net = Normalized().train()
    examples = _examples([[0, 0], [0, 255], [255, 255]], [0, 0, 2])
    means, _ = class_means(net, examples, TASK, lambda outputs: outputs.embedding)
    torch.testing.assert_close(means, torch.tensor([[-1.0, 0], [0, 0], [1, 1]]) / (1 + 1e-5) ** 0.5)
    assert net.norm.running_mean.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("embeddings", "labels", "expected"),
    [
        ([[1.0, 1.0], [0.0, 0.0]], [0, 1], ((1 + 1) / 2 + (9 + 16) / 2) / 2),
        ([[1.0, 1.0], [0.0, 0.0]], [0, 2], ((1 + 1) / 2 + 0) / 2),  # class 2 has no prototype
    ],
)
def test_prototype_distance_is_the_mean_squared_difference(embeddings, labels, expected) -> None:
    members = TASK.members(torch.tensor(labels))
    assert prototype_distance(torch.tensor(embeddings), members, PROTOTYPES, COUNTS).item() == expected


def test_prototype_distance_of_an_image_with_several_labels_is_a_mean_over_known_ones() -> None:
    members = torch.tensor([[True, True, True], [False, False, True]])
    distance = prototype_distance(torch.zeros(2, 2), members, PROTOTYPES, COUNTS)
    assert distance.item() == ((0 + 12.5) / 2 + 0) / 2


def test_gradient_of_the_prototype_distance_is_proportional_to_the_difference() -> None:
    embeddings = torch.tensor([[1.0, 3.0], [0.0, 0.0], [0.0, 0.0]], requires_grad=True)
    members = TASK.members(torch.tensor([0, 1, 0]))
    prototype_distance(embeddings, members, PROTOTYPES, COUNTS).backward()
    # 2 (z - C) / (2 entries * 3 images)
    torch.testing.assert_close(embeddings.grad, torch.tensor([[1.0, 3.0], [-3.0, -4.0], [0.0, 0.0]]) / 3)


def test_nearest_prototype_predicts() -> None:
    images = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
    logits = NearestPrototype(Pixels(), PROTOTYPES, COUNTS)(images)
    assert logits[0, :2].tolist() == pytest.approx([-1, -(18**0.5)], rel=1e-6)
    assert TASK.probabilities(logits)[0, 2].item() == 0
    nothing = torch.zeros_like(PROTOTYPES), torch.zeros_like(COUNTS)
    assert NearestPrototype(Pixels(), *nothing)(images).tolist() == [[1, 1, 1]]  # the head predicts
