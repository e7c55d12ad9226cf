"""Images that stay on a GPU give the same batches; here on the CPU, where a run keeps none."""

import gc

import numpy as np
import pytest
import torch

from fedbench_core.api import Examples, resident
from fedbench_core.api.resident import spare_bytes

SHAPES = {"none": (2500, 4, 5), "last": (2500, 4, 5, 3), "first": (2500, 2, 4, 5)}


@pytest.fixture
def room(monkeypatch):
    """Let the CPU have room for images of some bytes, as a GPU has."""
    return lambda size: monkeypatch.setattr(resident, "spare_bytes", lambda _device: size)


def _examples(channels: str) -> Examples:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, SHAPES[channels], dtype=np.uint8)
    images.setflags(write=False)  # as mapped files are
    return Examples(images, rng.integers(0, 3, (2500, 1)), rng.permutation(2500)[:40], channels)


@pytest.mark.parametrize("channels", SHAPES)
@pytest.mark.parametrize("positions", [None, np.array([3, 3, 0])])
def test_batch_is_the_same(channels, positions, room) -> None:
    wanted = _examples(channels).tensors(positions)[0]
    room(10**9)
    kept = _examples(channels)
    assert torch.equal(kept.tensors(positions)[0], wanted)
    assert torch.equal(resident.resident(kept.images, "cpu"), torch.from_numpy(kept.images.copy()))


def test_images_that_do_not_fit_stay_where_they_are(room) -> None:
    images = _examples("none").images
    room(images.nbytes - 1)
    assert resident.resident(images, "cpu") is None


def test_copy_ends_with_the_images(room) -> None:
    room(10**9)
    images = _examples("none").images.copy()
    copy = resident.resident(images, "cpu")
    assert resident.resident(images, "cpu") is copy
    gc.collect()  # of other tests
    before = len(resident._held)
    del images
    gc.collect()
    assert len(resident._held) == before - 1


def test_a_cpu_keeps_no_copies() -> None:
    assert spare_bytes("cpu") == 0
