"""The phantom: the same bytes everywhere, the documented class and site sizes, and a suitable difficulty."""

import hashlib
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedbench_core.api import DataRequest, RequestError
from fedbench_core.data.cells import CLASSES, KINDS, SCANNERS, draw
from fedbench_core.data.datasets import DATASETS
from fedbench_core.data.phantom import _assign, _corrupted, _decreasing
from fedbench_core.registry.options import bind, read_options

SMALL = {"train": 96, "val": 64, "test": 64}


def load(folder, size=28, **options):
    return DATASETS["phantom"](**{**SMALL, **options}).load(DataRequest(cache=folder, image_size=size))


@cache
def pictures():
    """80 of each kind from one scanner, (8, 80, 28, 28, 3)."""
    kinds = np.repeat(np.arange(8), 80)
    return draw(kinds, np.zeros_like(kinds), 28, np.random.default_rng(0)).reshape(8, 80, 28, 28, 3)


def fingerprint(splits):
    parts = [array for e in (splits.train, splits.val, splits.test) for array in (e.images, e.labels)]
    return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()[:16]


def test_images_are_those_of_version_1(tmp_path):
    # golden: a change that breaks this makes another dataset and needs another VERSION
    splits = load(tmp_path)
    assert splits.digest == "phantom-1-a8d8a0f0cd0f4d00"
    assert fingerprint(splits) == "ad2de42d9d0b2d7c"


def test_shapes_and_names_are_those_documented(tmp_path):
    splits = load(tmp_path)
    assert splits.train.images.shape == (96, 28, 28, 3)
    assert (splits.channels, splits.image_size, splits.official) == (3, 28, False)
    assert splits.task.classes == CLASSES
    assert (splits.task.kind, len(set(CLASSES))) == ("multi-class", 8)
    assert isinstance(splits.train.images, np.memmap)


def test_larger_images_show_the_same_cells(tmp_path):
    rng = [np.random.default_rng(0) for _ in range(2)]
    small, large = (draw(np.arange(8), np.zeros(8, int), size, r) for size, r in zip((28, 224), rng, strict=True))
    shrunk = large.reshape(8, 28, 8, 28, 8, 3).mean((2, 4))
    assert np.abs(shrunk - small).mean() < 16
    assert np.abs(shrunk[::-1] - small).mean() > 24
    with pytest.raises(RequestError, match=r"no images of 32 pixels.*28, 64, 128, 224"):
        load(tmp_path, size=32)


def test_digest_depends_on_every_option(tmp_path):
    options = [{}, {"train": 97}, {"sites": 5}, {"label_noise": 0.1}, {"size": 64}]
    assert len({load(tmp_path, **changes).digest for changes in options}) == len(options)


def test_splits_do_not_depend_on_each_other(tmp_path):
    first, second = load(tmp_path), load(tmp_path, val=65)
    assert (first.train.images == second.train.images).all()
    assert (first.test.images == second.test.images).all()
    assert not (first.val.images == first.test.images).all()


def test_default_sizes_of_splits_sites_and_classes(tmp_path):
    splits = DATASETS["phantom"]().load(DataRequest(cache=tmp_path))
    assert [len(splits.train), len(splits.val), len(splits.test)] == [960, 160, 400]
    assert splits.image_size == 64
    assert np.bincount(splits.sites["train"]).tolist() == [384, 288, 192, 96]
    assert np.bincount(splits.sites["test"]).tolist() == [160, 120, 80, 40]
    classes = np.bincount(splits.test.labels[:, 0])
    assert classes.sum() == 400
    assert all(more > fewer for more, fewer in pairwise(classes))


@pytest.mark.parametrize("sites", [1, 8])
def test_splits_have_every_site_and_class(tmp_path, sites):
    splits = load(tmp_path, sites=sites)
    for split in ("train", "val", "test"):
        assert set(splits.sites[split]) == set(range(sites))
        assert set(getattr(splits, split).labels[:, 0]) == set(range(8))


@given(count=st.integers(64, 3000), groups=st.integers(1, 8))
@settings(max_examples=50)
def test_group_sizes_are_proportional_to_within_one(count, groups):
    sizes = _decreasing(groups, 0)
    assigned = np.bincount(_assign(count, sizes, np.random.default_rng(0)), minlength=groups)
    assert assigned.sum() == count
    assert np.abs(assigned - count * np.array(sizes) / sum(sizes)).max() < 1 + 1e-9


@given(share=st.floats(0, 0.5))
@settings(max_examples=30)
def test_wrong_labels_are_other_classes_and_as_many_as_requested(share):
    labels = np.arange(20000) % 8
    wrong = _corrupted(labels, share, np.random.default_rng(0))
    assert set(wrong) <= set(range(8))
    assert abs((wrong != labels).mean() - share) < 0.02


def test_wrong_labels_are_in_the_training_split_only(tmp_path):
    noisy, clean = load(tmp_path, label_noise=0.5), load(tmp_path, label_noise=0.0)
    assert (noisy.train.images == clean.train.images).all()
    assert 0.3 < (noisy.train.labels != clean.train.labels).mean() < 0.7
    assert (noisy.val.labels == clean.val.labels).all()
    assert (noisy.test.labels == clean.test.labels).all()


def test_scanners_differ_in_mean_color(tmp_path):
    splits = load(tmp_path, train=2000, sites=8)
    means = [splits.train.images[splits.sites["train"] == site].mean((0, 1, 2)) for site in range(8)]
    between = [np.abs(one - other).max() for at, one in enumerate(means) for other in means[:at]]
    assert min(between) > 4
    assert len(SCANNERS) == 8


def test_options_out_of_range_are_refused():
    options = read_options(DATASETS["phantom"])
    for name, value in {"train": 63, "sites": 9, "label_noise": 0.6}.items():
        with pytest.raises(RequestError, match=f"{name}={value}"):
            bind("dataset 'phantom'", "dataset", options, {name: value})


def nucleus_pixels(images):
    """The number of pixels as dark as a nucleus of the first scanner."""
    return (images[..., 1] < 0.3 * 255).sum((-1, -2))


def test_kinds_differ_in_the_size_of_the_nucleus():
    area = dict(zip(CLASSES, nucleus_pixels(pictures()).mean(1), strict=True))
    assert area["blast"] > area["bean"] > area["band"]
    assert area["lymphoid"] > area["bilobed"] > area["plasma"]
    assert len(KINDS) == 8


@pytest.mark.slow  # the images are those of which this was seen: their fingerprint is tested above
def test_convolutional_network_learns_where_a_linear_model_fails(tmp_path):
    splits = DATASETS["phantom"](train=2400, test=800).load(DataRequest(cache=tmp_path, image_size=28))
    (x, y), (test_x, test_y) = splits.train.tensors(), splits.test.tensors()

    def accuracy(model, epochs, lr):
        order = torch.Generator().manual_seed(0)
        optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
        for _ in range(epochs):
            for batch in torch.randperm(len(x), generator=order).split(32):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
                optimizer.step()
        with torch.no_grad():  # training mode: running statistics lag behind after so few steps
            return (model(test_x).argmax(1) == test_y).double().mean().item()

    assert accuracy(linear(), 10, 1e-3) < 0.45
    assert accuracy(convolutional(), 4, 0.05) > 0.7


def linear():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 28 * 28, 8))


def convolutional():
    def block(before, after):
        return torch.nn.Conv2d(before, after, 3, padding=1), torch.nn.BatchNorm2d(after), torch.nn.ReLU()

    with torch.random.fork_rng():
        torch.manual_seed(0)
        pool = torch.nn.MaxPool2d(2)
        body = (*block(3, 16), pool, *block(16, 32), pool, *block(32, 64), torch.nn.AdaptiveAvgPool2d(1))
        return torch.nn.Sequential(*body, torch.nn.Flatten(), torch.nn.Linear(64, 8))
