import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from fedbench_core.learning import pooled

TORCH = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}


def test_cells_overlap_where_the_length_is_no_multiple() -> None:
    assert pooled(torch.tensor([[1.0, 2.0, 4.0, 8.0, 16.0]]), (2,)).flatten().tolist() == pytest.approx([7 / 3, 28 / 3])


@given(st.data())
def test_is_torchs_adaptive_average_pooling_with_its_gradient(data) -> None:
    axes = data.draw(st.integers(1, 3))
    sides = [data.draw(st.integers(1, 9)) for _ in range(axes)]
    sizes = [data.draw(st.integers(1, side)) for side in sides]
    maps = torch.randn(2, 3, *sides, dtype=torch.float64, requires_grad=True)
    results = [pooled(maps, sizes), TORCH[axes](maps, sizes)]
    torch.testing.assert_close(*results)
    weights = torch.randn_like(results[0])
    torch.testing.assert_close(*(torch.autograd.grad((one * weights).sum(), maps)[0] for one in results))


def test_map_of_the_right_size_is_unchanged() -> None:
    maps = torch.randn(1, 2, 4, 4)
    assert pooled(maps, (4, 4)) is maps


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gradient_is_deterministic_on_a_gpu() -> None:
    torch.use_deterministic_algorithms(mode=True)
    try:
        pooled(torch.randn(2, 3, 7, 7, device="cuda", requires_grad=True), (2, 3)).sum().backward()
    finally:
        torch.use_deterministic_algorithms(mode=False)
