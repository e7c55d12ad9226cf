import numpy as np
import pytest
import torch

from fedbench_core.api import Examples

LABELS = np.arange(6)[:, None] % 3


def _examples(shape, channels, labels=LABELS) -> Examples:
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    images.flags.writeable = False
    return Examples(images, labels.astype(np.int64), np.array([5, 1, 3, 0]), channels)


@pytest.mark.parametrize(
    ("shape", "channels", "expected"),
    [
        ((6, 4, 5), "none", (4, 1, 4, 5)),
        ((6, 4, 5, 3), "last", (4, 3, 4, 5)),
        ((6, 7, 4, 5), "first", (4, 7, 4, 5)),
    ],
)
def test_images_come_as_channels_height_width(shape, channels, expected) -> None:
    examples = _examples(shape, channels)
    images, labels = examples.tensors()
    assert (tuple(images.shape), images.dtype) == (expected, torch.float32)
    assert images.is_contiguous()
    assert (labels.tolist(), labels.dtype) == ([2, 1, 0, 0], torch.int64)
    raw = examples.images[5]
    first = raw[None] if channels == "none" else np.moveaxis(raw, -1, 0) if channels == "last" else raw
    torch.testing.assert_close(images[0], torch.from_numpy(first / 127.5 - 1).float())


def test_the_scale_is_minus_one_to_one() -> None:
    images = np.array([[[0, 255], [127, 128]]], np.uint8)
    scaled, _ = Examples(images, np.zeros((1, 1), np.int64), np.array([0]), "none").tensors()
    assert scaled.flatten().tolist() == pytest.approx([-1, 1, -1 / 255, 1 / 255], abs=1e-6)


def test_several_labels_are_numbers_between_nought_and_one() -> None:
    labels = np.array([[0, 1], [1, 1], [0, 0], [1, 0], [0, 0], [1, 1]])
    targets = _examples((6, 4, 5), "none", labels).targets()
    assert (targets.dtype, targets.tolist()) == (torch.float32, [[1, 1], [1, 1], [1, 0], [0, 1]])


def test_positions_are_within_the_view() -> None:
    examples = _examples((6, 4, 5), "none")
    some = np.array([3, 0, 0])
    assert torch.equal(examples.tensors(some)[0], examples.tensors()[0][[3, 0, 0]])
    assert examples.targets(some).tolist() == [0, 2, 2]
    assert examples.pick(some).indices.tolist() == [0, 5, 5]
    assert torch.equal(examples.pick(some).tensors()[0], examples.tensors(some)[0])


def test_a_view_shares_the_images_and_a_tensor_does_not() -> None:
    examples = _examples((6, 4, 5), "none")
    assert examples.pick(np.array([1])).images is examples.images
    assert examples.on("cpu").images is examples.images
    before = examples.images.copy()
    examples.tensors()[0].zero_()
    assert np.array_equal(examples.images, before)


def test_no_image_is_an_empty_batch() -> None:
    nothing = _examples((6, 4, 5, 3), "last").pick(np.array([], dtype=np.int64))
    images, labels = nothing.tensors()
    assert len(nothing) == 0
    assert (tuple(images.shape), tuple(labels.shape)) == ((0, 3, 4, 5), (0,))
