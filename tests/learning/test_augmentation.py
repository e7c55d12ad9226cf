import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from fedbench_core.api.training import Augmentation
from fedbench_core.learning.augmentation import CROP, ROTATION, SHIFT, _moved, _relit, _shifted, augmented

KINDS = [kind for kind in Augmentation.__args__ if kind != "none"]


def images(count=64, channels=2, side=16):
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


def draw(kind, batch, seed=0):
    return augmented(batch, kind, np.random.default_rng(seed))


def test_none_returns_the_images_themselves() -> None:
    batch = images()
    assert draw("none", batch) is batch


def test_flip_mirrors_about_half_of_the_images_left_to_right() -> None:
    batch = images(400)
    flipped = [bool(torch.equal(new, old.flip(-1))) for new, old in zip(draw("flip", batch), batch, strict=True)]
    kept = [bool(torch.equal(new, old)) for new, old in zip(draw("flip", batch), batch, strict=True)]
    assert [not one for one in flipped] == kept
    assert 160 < sum(flipped) < 240


@pytest.mark.parametrize("kind", KINDS)
def test_every_image_has_draws_of_its_own_that_do_not_depend_on_how_images_are_joined(kind) -> None:
    batch, rng = images(12), np.random.default_rng(0)
    parts = [augmented(part, kind, rng) for part in torch.split(batch, [5, 1, 6])]
    assert torch.equal(torch.cat(parts), draw(kind, batch))
    same = draw(kind, batch[:1].repeat(12, 1, 1, 1))
    assert len({one.numpy().tobytes() for one in same}) > 1


@pytest.mark.parametrize("kind", KINDS)
def test_images_keep_shape_range_and_type_and_the_given_ones_are_unchanged(kind) -> None:
    batch = images(channels=5)
    before = batch.clone()
    new = draw(kind, batch)
    assert (new.shape, new.dtype) == (batch.shape, torch.float32)
    assert float(new.abs().max()) <= 1 + 1e-6
    assert torch.equal(batch, before)


@pytest.mark.parametrize("kind", KINDS)
def test_channels_change_together(kind) -> None:
    new = draw(kind, images(channels=1).repeat(1, 3, 1, 1))
    assert torch.allclose(new[:, 0], new[:, 2], atol=1e-6)


def test_crop_shifts_by_whole_pixels_up_to_an_eighth_and_black_moves_in() -> None:
    batch = images(2000, channels=1)
    padded, seen = F.pad(batch, (2, 2, 2, 2), value=-1.0), set()
    assert 16 * CROP == 2
    for new, old in zip(_shifted(batch, torch.rand(2000, 2) * 2 - 1), padded, strict=True):
        found = [(y, x) for y in range(5) for x in range(5) if torch.equal(old[:, y : y + 16, x : x + 16], new)]
        assert len(found) == 1
        seen.add(found[0])
    assert len(seen) == 25


def test_positive_draws_shift_right_and_down() -> None:
    dot = torch.full((1, 1, 16, 16), -1.0)
    dot[0, 0, 8, 8] = 1.0
    assert _shifted(dot, torch.tensor([[0.999, 0.999]]))[0, 0].argmax() == 10 * 16 + 10
    one = torch.ones(1)
    assert _moved(dot, 0 * one, one, 0 * one)[0, 0].argmax() == 8 * 16 + 8 + 16 * SHIFT
    assert _moved(dot, 0 * one, 0 * one, one)[0, 0].argmax() == (8 + 16 * SHIFT) * 16 + 8


def test_no_move_is_the_same_image_and_a_turn_is_by_the_angle() -> None:
    batch, zero = images(3), torch.zeros(3)
    assert torch.allclose(_moved(batch, zero, zero, zero), batch, atol=1e-5)
    dot = torch.full((1, 1, 65, 65), -1.0)
    dot[0, 0, 31:34, 51:54] = 1.0  # 20 pixels right of the center
    turned = _moved(dot, torch.ones(1), torch.zeros(1), torch.zeros(1))[0, 0] + 1
    rows, columns = torch.meshgrid(torch.arange(65.0) - 32, torch.arange(65.0) - 32, indexing="ij")
    angle = math.atan2(float((turned * rows).sum()), float((turned * columns).sum()))
    assert abs(math.degrees(angle)) == pytest.approx(ROTATION, abs=0.5)


def test_light_scales_around_the_mean_and_adds_a_part_of_the_range() -> None:
    """Mean 0: (x - 0) * 1.1; then 0.1 of the range, which is 0.2 in [-1, 1]."""
    batch = torch.tensor([-0.5, 0.5]).view(1, 1, 1, 2)
    assert _relit(batch, torch.ones(1), torch.zeros(1)).flatten().tolist() == pytest.approx([-0.55, 0.55])
    assert _relit(batch, torch.zeros(1), torch.ones(1)).flatten().tolist() == pytest.approx([-0.3, 0.7])
    assert _relit(batch + 0.45, torch.ones(1), torch.ones(1)).max() == 1
