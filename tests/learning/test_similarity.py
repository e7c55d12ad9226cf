import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from fedbench_core.api import RequestError
from fedbench_core.learning.similarity import batch_level, deepest, matched, pixel_level, region_level


def within(first, second):
    return region_level(first, second, across="regions")


LEVELS = [batch_level, pixel_level, region_level, within]
each_level = pytest.mark.parametrize("level", LEVELS)
each_size = pytest.mark.parametrize("size", [(4, 4), (7, 7), (4, 6), (4, 4, 4), (5, 8, 4)])


def maps(channels, *size, images=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(images, channels, *size, generator=generator, dtype=torch.float64)


def close(value, expected):
    return math.isclose(float(value), expected, rel_tol=1e-6, abs_tol=1e-9)


class TestByHand:
    def test_batch_level(self):
        apart = torch.tensor([[1.0, 0.0], [0.0, 3.0]]).view(2, 2, 1, 1)  # products diag(1, 9), rows of length 1: I
        alike = torch.tensor([[1.0, 0.0], [1.0, 0.0]]).view(2, 2, 1, 1)  # products all 1, so rows (1, 1) / sqrt 2
        distance = 4 - 2 * math.sqrt(2)  # 2 (1 - 1 / sqrt 2)^2 + 2 (1 / sqrt 2)^2
        assert close(batch_level(apart, alike), distance / 2)
        assert close(batch_level(apart, alike, literal=True), distance / 4)

    def test_pixel_level(self):
        apart = torch.tensor([[1.0, 0.0], [0.0, 5.0]]).T.reshape(1, 2, 1, 2)  # cosines: I
        alike = torch.tensor([[2.0, 0.0], [3.0, 0.0]]).T.reshape(1, 2, 1, 2)  # cosines: all 1
        assert close(pixel_level(apart, alike), 2 / 4)

    def test_region_level_across_samples(self):
        apart = torch.zeros(2, 2, 4, 4)
        apart[:, 0] = 1.0
        alike = apart.clone()
        apart[1, :, :2, :2] = torch.tensor([0.0, 1.0]).view(2, 1, 1)  # in one of four regions image 1 looks different
        assert close(region_level(apart, alike), 2 / 4 / 4)

    def test_region_level_across_regions(self):
        apart = torch.zeros(1, 2, 4, 4)
        apart[:, 0] = 1.0
        alike = apart.clone()
        apart[:, :, :2, :2] = torch.tensor([0.0, 1.0]).view(2, 1, 1)  # one of four regions differs from the others
        assert close(within(apart, alike), 6 / 16)

    def test_regions_are_means(self):
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(3, 2, 4, 4, generator=generator)
        means = noise.unflatten(2, (2, 2)).unflatten(4, (2, 2)).mean(dim=(3, 5))
        flat = means.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        assert close(region_level(noise, flat), 0.0)
        assert pixel_level(noise, flat) > 0.1


class TestEveryLevel:
    @each_level
    @each_size
    def test_a_map_with_itself_is_0(self, level, size):
        assert float(level(maps(3, *size), maps(3, *size))) == 0.0

    @each_level
    @each_size
    def test_maps_that_differ_are_not(self, level, size):
        assert 0.001 < float(level(maps(3, *size), maps(6, *size, seed=1))) < 4.0

    @each_level
    @each_size
    def test_channels_may_be_permuted_or_mixed(self, level, size):
        ours, theirs = maps(4, *size), maps(6, *size, seed=1)
        mixing, _ = torch.linalg.qr(maps(6, 1, images=6, seed=2)[:, :, 0])
        permuted = theirs[:, [3, 1, 5, 0, 2, 4]]
        mixed = torch.einsum("dc,bc...->bd...", mixing, theirs)
        assert not torch.allclose(mixed, theirs)
        assert close(level(ours, permuted), float(level(ours, theirs)))
        assert close(level(ours, mixed), float(level(ours, theirs)))

    @each_level
    @each_size
    def test_channel_counts_do_not_matter(self, level, size):
        few = maps(3, *size)
        many = torch.cat([few, torch.zeros_like(few), few], dim=1)
        assert close(level(few, many), 0.0)

    @each_level
    @pytest.mark.parametrize("size", [(4, 4), (4, 4, 4)])
    def test_sizes_are_matched(self, level, size):
        small = maps(3, *size)
        large = small
        for axis in range(2, small.dim()):
            large = large.repeat_interleave(2, dim=axis)
        assert close(level(small, large), 0.0)
        assert close(level(large, small), 0.0)

    @each_level
    @settings(max_examples=15, deadline=None)
    @given(st.integers(2, 6), st.integers(1, 5), st.integers(4, 9), st.integers(4, 16), st.booleans())
    def test_symmetric_finite_and_the_same_in_any_memory_format(self, level, images, channels, one, other, volume):
        axes = 3 if volume else 2
        first = maps(channels, *[one] * axes, images=images)
        second = maps(channels + 1, *[other] * axes, images=images, seed=1)
        loss = level(first, second)
        assert loss.shape == ()
        assert 0 <= float(loss) < math.inf
        assert close(level(second, first), float(loss))
        strided = first.contiguous(memory_format=torch.channels_last_3d if volume else torch.channels_last)
        assert close(level(strided, second), float(loss))

    @each_level
    def test_gradients_are_right_and_stop_at_detach(self, level):
        first = maps(2, 4, 5, images=3).requires_grad_()
        second = maps(3, 5, 4, images=3, seed=1).requires_grad_()
        assert torch.autograd.gradcheck(level, (first, second))
        level(first, second.detach()).backward()
        assert first.grad is not None
        assert second.grad is None

    @each_level
    def test_dead_maps_give_finite_gradients(self, level):
        dead = torch.zeros(4, 3, 4, 4, requires_grad=True)
        level(dead, maps(3, 4, 4, images=4).float()).backward()
        assert torch.isfinite(dead.grad).all()

    @pytest.mark.parametrize("level", [pixel_level, region_level, within])
    def test_almost_dead_locations_do_not_drown_the_others(self, level):
        ours = maps(3, 4, 4, images=8).float()
        ours[:, :, 0] *= 1e-9
        ours.requires_grad_()
        level(ours, maps(3, 4, 4, images=8, seed=1).float()).backward()
        assert ours.grad[:, :, 0].norm() < 5
        assert ours.grad[:, :, 1:].norm() > 0.001

    def test_flat_maps_and_volumes_are_not_mixed(self):
        with pytest.raises(ValueError, match="expected two maps"):
            pixel_level(maps(2, 4, 4), maps(2, 4, 4, 4))


class Largest(TorchDispatchMode):
    """The number of entries of the largest tensor made."""

    entries = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple) else (made,):
            if isinstance(tensor, torch.Tensor):
                self.entries = max(self.entries, tensor.numel())
        return made


class TestMemory:
    @pytest.mark.parametrize(("size", "locations"), [((28, 28), 14**2), ((8, 8), 8**2), ((9, 9, 9), 6**3)])
    def test_pixel_level_makes_nothing_larger_than_b_n_n(self, size, locations):
        first, second = maps(2, *size, images=4).requires_grad_(), maps(3, *size, images=4, seed=1)
        with Largest() as largest:
            pixel_level(first, second).backward()
        assert largest.entries == 4 * locations**2

    def test_pixel_level_keeps_two_matrices_for_the_way_back(self):
        kept = {}

        def note(tensor):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        first, second = maps(2, 28, 28, images=4).float().requires_grad_(), maps(2, 28, 28, images=4, seed=1).float()
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            loss = pixel_level(first, second)
        matrix = 4 * 196**2 * 4
        loss.backward()
        assert 2 * matrix <= sum(kept.values()) < 2.1 * matrix


class TestRegions:
    def test_a_cap_holds_for_large_maps(self):
        first, second = maps(2, 56, 56, images=4), maps(2, 56, 56, images=4, seed=1)
        with Largest() as largest:
            within(first, second)
        assert largest.entries <= first.numel()
        assert close(within(first, second), float(region_level(first, second, across="regions", regions=7)))

    def test_half_the_locations_at_least_two(self):
        first, second = maps(3, 7, 7), maps(3, 7, 7, seed=1)
        assert float(region_level(first, second)) == float(region_level(first, second, regions=3))
        first, second = maps(3, 3, 3), maps(3, 3, 3, seed=1)
        assert float(region_level(first, second)) == float(region_level(first, second, regions=2))

    def test_no_more_than_locations(self):
        first, second = maps(3, 4, 6), maps(3, 9, 5, seed=1)
        assert region_level(first, second, regions=9) == region_level(first, second, regions=5) > 0

    def test_single_locations_within_a_sample_are_refused(self):
        with pytest.raises(RequestError, match=r"4 x 4 regions of a map of 4 x 4.*pixel level.*across samples"):
            region_level(maps(3, 4, 4), maps(3, 7, 7), across="regions", regions=4)
        assert float(region_level(maps(3, 4, 4), maps(3, 7, 7, seed=1), regions=4)) > 0


class TestStages:
    def test_deepest_with_four_locations_per_side(self):
        sizes = [(28, 28), (14, 14), (7, 7), (4, 4), (2, 2)]
        assert deepest([maps(2, *size) for size in sizes]) == 3
        assert deepest([maps(2, *size) for size in [(8, 8), (8, 3), (4, 4, 4)]]) == 2
        assert deepest([maps(2, *size) for size in [(8, 8), (8, 3), (4, 4, 3)]]) == 0

    def test_none_is_a_request_that_cannot_be(self):
        with pytest.raises(RequestError, match=r"its maps have 3 x 3, 1 x 1 locations.*at least 4.*--image-size"):
            deepest([maps(2, 3, 3), maps(2, 1, 1)])

    @pytest.mark.parametrize(
        ("first", "second", "pairs"),
        [
            (3, 3, [(0, 0), (1, 1), (2, 2)]),
            (4, 5, [(0, 0), (1, 2), (2, 3), (3, 4)]),  # 1.25, 2.5, 3.75, 5
            (5, 4, [(0, 0), (2, 1), (3, 2), (4, 3)]),
            (1, 6, [(0, 5)]),
            (5, 12, [(0, 1), (1, 4), (2, 6), (3, 9), (4, 11)]),  # 2.4, 4.8, 7.2, 9.6, 12
        ],
    )
    def test_matched_by_relative_depth(self, first, second, pairs):
        assert matched(first, second) == pairs

    @given(st.integers(1, 12), st.integers(1, 12))
    def test_matching_is_monotone_symmetric_and_ends_at_the_end(self, first, second):
        pairs = matched(first, second)
        assert pairs == [(one, other) for other, one in matched(second, first)]
        assert len(pairs) == min(first, second)
        assert pairs[-1] == (first - 1, second - 1)
        assert all(a < c and b < d for (a, b), (c, d) in itertools.pairwise(pairs))
