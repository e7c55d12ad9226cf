import numpy as np
import pytest
import torch

from fedbench_core.api import Backbone, Examples, Normalization, Outputs
from fedbench_core.models import pixel_statistics


def examples(images, channels):
    count = len(images)
    return Examples(images.astype(np.uint8), np.zeros((count, 1), np.int64), np.arange(count), channels)


def test_color_images_have_statistics_per_channel() -> None:
    """Red is 0 and 255, half of the pixels each; green is 51 everywhere: 1/5, with the least deviation."""
    images = np.zeros((2, 1, 2, 2))
    images[0, ..., 0], images[..., 1] = 255, 51
    found = pixel_statistics(examples(images, "last"))
    assert found.mean == pytest.approx((0.5, 0.2))
    assert found.std == pytest.approx((0.5, 1 / 255))


@pytest.mark.parametrize(("shape", "channels"), [((5000, 3, 3), "none"), ((9, 4, 3, 3), "first")])
def test_gray_images_and_volumes_have_one_mean_and_deviation(shape, channels) -> None:
    images = np.random.default_rng(0).integers(0, 256, shape)
    found = pixel_statistics(examples(images, channels))
    assert found.mean == pytest.approx((images.mean() / 255,))
    assert found.std == pytest.approx((images.std() / 255,))


class Twice(Backbone):
    """Calls itself in both ways; keeps what it was given."""

    def forward(self, images):
        return self.outputs(images).logits

    def outputs(self, images):
        self.seen = images
        return Outputs(images.mean(dim=(2, 3)), images.flatten(1), ())


def test_backbone_normalizes_its_input_once() -> None:
    """Pixels 0, 1/2 and 1 with mean 0.25 and deviation 0.5: -0.5, 0.5 and 1.5."""
    net = Twice()
    images = torch.tensor([-1.0, 0.0, 1.0]).view(1, 1, 1, 3)
    for call in (net, net.outputs, lambda images: net(images=images)):
        net.normalization = Normalization((0.25,), (0.5,))
        call(images)
        assert net.seen.flatten().tolist() == pytest.approx([-0.5, 0.5, 1.5])
        net.normalization = None
        call(images)
        assert net.seen is images
