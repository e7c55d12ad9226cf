import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedbench_core.api import Client, Examples, RoundContext, Task, Training
from fedbench_core.learning import TensorData, batches, positions
from fedbench_core.learning.augmentation import augmented


def _batches(count, **training):
    return [batch.tolist() for batch in positions(count, Training(**training), np.random.default_rng(0))]


@given(count=st.integers(2, 60), size=st.integers(1, 20), epochs=st.integers(1, 3))
def test_every_epoch_sees_every_image_once(count, size, epochs) -> None:
    seen = _batches(count, epochs=epochs, batch_size=size)
    for epoch in range(epochs):
        batches_of_it = seen[epoch * len(seen) // epochs : (epoch + 1) * len(seen) // epochs]
        rows = [row for batch in batches_of_it for row in batch[: 1 if size == 1 else None]]  # a lone image comes twice
        assert sorted(rows) == list(range(count))


@given(count=st.integers(1, 60), size=st.integers(1, 20), steps=st.integers(1, 30))
def test_steps_are_counted_exactly_and_no_batch_has_one_image(count, size, steps) -> None:
    seen = _batches(count, steps=steps, batch_size=size)
    assert len(seen) == steps
    assert all(2 <= len(batch) <= max(2, size + 1) for batch in seen)


@pytest.mark.parametrize(
    ("count", "size", "sizes"),
    [(9, 4, [4, 5]), (8, 4, [4, 4]), (10, 4, [4, 4, 2]), (3, 8, [3]), (1, 8, [2]), (3, 1, [2, 2, 2]), (5, 2, [2, 3])],
)
def test_a_last_batch_of_one_joins_the_one_before(count, size, sizes) -> None:
    assert [len(batch) for batch in _batches(count, batch_size=size)] == sizes


def test_epochs_are_shuffled_anew() -> None:
    first, second = _batches(20, epochs=2, batch_size=20)
    assert first != second


@pytest.fixture
def client() -> Client:
    images = np.arange(30, dtype=np.uint8)[:, None, None].repeat(4, 1).repeat(4, 2)
    examples = Examples(images, np.arange(30)[:, None].astype(np.int64) % 3, np.arange(30)[::-1].copy(), "none")
    return Client(2, "net", examples, examples)


def _ctx(round_=0, phase=0, seed=0, **training) -> RoundContext:
    return RoundContext(round_, 5, phase, seed, Task("multi-class", ("a", "b", "c")), Training(**training))


def _seen(client, ctx) -> list[list[int]]:
    own = replace(ctx, node=client.id)
    return [((b.images[:, 0, 0, 0] + 1) * 127.5).round().int().tolist() for b in batches(client.train, own)]


def test_images_and_labels_belong_together(client) -> None:
    for batch in batches(client.train, _ctx(batch_size=7)):
        images, labels = batch.images, batch.labels
        assert (((images[:, 0, 0, 0] + 1) * 127.5).round().int() % 3).tolist() == labels.tolist()
        assert images.shape[1:] == (1, 4, 4)


def test_examples_are_augmented_by_draws_of_their_own_stream(client, monkeypatch) -> None:
    """Also in blocks of one batch, which are read one by one."""
    plain = replace(_ctx(batch_size=7, augmentation="none"), node=2)
    changed = plain.with_training(augmentation="medical")
    for block in (2**24, 1):
        monkeypatch.setattr(sys.modules["fedbench_core.learning.batches"], "_BLOCK_BYTES", block)
        draws = changed.rng("augmentation", "batches")
        for before, after in zip(batches(client.train, plain), batches(client.train, changed), strict=True):
            assert torch.equal(before.labels, after.labels)
            assert torch.equal(after.images, augmented(before.images, "medical", draws))


def test_public_images_and_tensors_are_not_augmented(client) -> None:
    ctx = _ctx(augmentation="medical")
    images, labels = client.train.tensors(np.arange(30))
    for data in (client.train.without_labels(), TensorData(images, labels)):
        batch, *_ = batches(data, ctx)
        assert torch.equal(batch.images, data.tensors(batch.indices.numpy())[0])


def test_order_follows_from_seed_round_phase_and_client(client) -> None:
    base = _seen(client, _ctx())
    assert base == _seen(client, _ctx())
    assert base != _seen(client, _ctx(seed=1))
    assert base != _seen(client, _ctx(round_=1))
    assert base != _seen(client, _ctx(phase=1))
    client.id = 3
    assert base != _seen(client, _ctx())


def test_methods_are_paired_on_the_same_order(client) -> None:
    """The learning rate, the optimizer and what torch drew before leave the order alone."""
    base = _seen(client, _ctx(batch_size=7))
    torch.rand(9)
    assert base == _seen(client, _ctx(batch_size=7, lr=0.9, optimizer="adam"))


def test_blocks_of_batches_change_nothing(client, monkeypatch) -> None:
    whole = _seen(client, _ctx(batch_size=4, epochs=3))
    monkeypatch.setattr(sys.modules[batches.__module__], "_BLOCK_BYTES", 1)
    assert _seen(client, _ctx(batch_size=4, epochs=3)) == whole
