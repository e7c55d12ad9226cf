"""Means of losses over the images of all batches."""

import numpy as np
import pytest
import torch

from fedbench_core.learning.batch_means import _BLOCK_STEPS, BatchMeans


def test_batches_count_by_their_images_and_a_missing_value_as_zero() -> None:
    means = BatchMeans()
    means.add({"loss": torch.tensor(1.0), "hint": torch.tensor(8.0)}, 3)
    means.add({"loss": torch.tensor(5.0)}, 1)
    assert means.result() == {"loss": 2.0, "hint": 6.0, "steps": 2}


def test_nothing_was_seen() -> None:
    assert BatchMeans().result() == {"steps": 0}


@pytest.mark.parametrize("steps", [1, _BLOCK_STEPS - 1, _BLOCK_STEPS, 2 * _BLOCK_STEPS + 1])
def test_values_are_added_one_after_another_in_single_precision(steps) -> None:
    values = torch.rand(steps, generator=torch.Generator().manual_seed(0))
    means, total = BatchMeans(), np.float32(0)
    for step, value in enumerate(values):
        means.add({"loss": value}, 10 + step % 2)
        total += value.numpy() * np.float32(10 + step % 2)
    images = 10 * steps + steps // 2
    assert means.result() == {"loss": float(total) / images, "steps": steps}


def test_sum_of_half_precision_is_not_rounded_to_it() -> None:
    means = BatchMeans()
    for _ in range(300):
        means.add({"loss": torch.tensor(1.0, dtype=torch.bfloat16)}, 1)
    assert means.result()["loss"] == 1.0


def test_double_precision_is_kept() -> None:
    means = BatchMeans()
    for _ in range(3):
        means.add({"loss": torch.tensor(1 + 2**-40, dtype=torch.float64)}, 1)
    assert means.result()["loss"] == 1 + 2**-40


def test_value_that_is_first_seen_in_a_later_block() -> None:
    means = BatchMeans()
    for step in range(_BLOCK_STEPS + 2):
        means.add({"loss": torch.tensor(1.0)} | ({"late": torch.tensor(129.0)} if step > _BLOCK_STEPS else {}), 1)
    assert means.result() == {"loss": 1.0, "late": 0.5, "steps": _BLOCK_STEPS + 2}


def test_one_number_may_have_any_shape() -> None:
    means = BatchMeans()
    for value in (torch.tensor(1.0), torch.tensor([2.0]), torch.tensor([[3.0]])):
        means.add({"loss": value}, 1)
    assert means.result()["loss"] == 2.0


def test_number_that_changes_later_counts_as_it_was() -> None:
    means, average = BatchMeans(), torch.nn.Parameter(torch.tensor(1.0))
    means.add({"average": average}, 1)
    average.data.fill_(5.0)
    assert means.result()["average"] == 1.0


def test_no_graph_is_kept() -> None:
    means = BatchMeans()
    means.add({"loss": torch.ones((), requires_grad=True) * 2}, 1)
    [[kept]] = means._recent.values()
    assert kept.grad_fn is None


def test_loss_may_grow_to_infinity() -> None:
    means = BatchMeans()
    for loss in (3e38, 3e38):
        means.add({"loss": torch.tensor(loss)}, 32)
        means.add({"other": torch.tensor(loss)}, 1)
    assert means.result() == {"loss": float("inf"), "other": float("inf"), "steps": 4}
