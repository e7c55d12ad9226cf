import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedbench_core.api import Labels, RequestError
from fedbench_core.parts.partitioners import Dirichlet, Iid, Quantity, Shards, Sites

PARTS = [
    Iid(),
    Dirichlet(),
    Dirichlet(alpha=1e-4, min_size=1),
    Dirichlet(alpha=0.05, min_size=1),
    Dirichlet(alpha=100.0, min_size=10),
    Shards(),
    Shards(classes_per_client=1),
    Shards(classes_per_client=100),
    Quantity(),
    Quantity(alpha=1e-4, min_size=1),
]

multi_class = arrays(np.int64, st.integers(1, 120), elements=st.integers(0, 8))
multi_label = arrays(np.int64, st.tuples(st.integers(1, 80), st.integers(2, 4)), elements=st.integers(0, 1))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def classes_of(labels: Labels, shares: list[np.ndarray]) -> list[set[int]]:
    return [set(labels.classes[share].tolist()) for share in shares]


@pytest.mark.parametrize("part", PARTS, ids=str)
@settings(max_examples=25, deadline=None)
@given(classes=st.one_of(multi_class, multi_label), clients=st.integers(1, 20), seed=st.integers(0, 5))
def test_every_request_ends_in_whole_shares_or_a_sentence(part, classes, clients, seed) -> None:
    try:
        shares = part.split(Labels(classes), clients, rng(seed))
    except RequestError as error:
        advice = re.search("Use --|Raise alpha|Use more images", str(error))
        assert advice
        return
    assert len(shares) == clients
    assert min(len(share) for share in shares) >= getattr(part, "min_size", 1)
    assert sorted(np.concatenate(shares).tolist()) == list(range(len(classes)))
    assert all((np.diff(share) > 0).all() for share in shares)
    if isinstance(part, Shards):
        assert max(len(np.unique(classes[share], axis=0)) for share in shares) <= part.classes_per_client


@settings(max_examples=25, deadline=None)
@given(sites=arrays(np.int64, st.integers(1, 60), elements=st.sampled_from([0, 1, 3, 7])))
def test_sites_gives_each_client_one_site(sites) -> None:
    known = sorted(set(sites.tolist()))
    shares = Sites().split(Labels(np.zeros_like(sites), sites), len(known), rng())
    assert [set(sites[share].tolist()) for share in shares] == [{site} for site in known]
    assert sum(len(share) for share in shares) == len(sites)


@given(images=st.integers(1, 300), clients=st.integers(1, 40))
def test_iid_sizes_differ_by_one_at_most(images, clients) -> None:
    if clients > images:
        return
    sizes = [len(share) for share in Iid().split(Labels(np.zeros(images, dtype=np.int64)), clients, rng())]
    assert max(sizes) - min(sizes) <= 1


def test_dirichlet_gets_more_skewed_as_alpha_falls() -> None:
    labels = Labels(np.arange(4000) % 8)

    def largest_class(alpha: float) -> float:
        shares = Dirichlet(alpha).split(labels, 10, rng())
        return float(np.mean([np.bincount(labels.classes[share]).max() / len(share) for share in shares]))

    assert largest_class(0.1) > 0.5
    assert largest_class(1000.0) < 0.16  # even is 1/8


def test_dirichlet_survives_classes_that_run_out() -> None:
    # 30 classes with one image each: every proportion but one rounds to nothing
    labels = Labels(np.concatenate([np.zeros(400, dtype=np.int64), np.arange(1, 31)]))
    shares = Dirichlet(alpha=0.01, min_size=1).split(labels, 3, rng())
    assert sum(len(share) for share in shares) == 430


def test_dirichlet_gives_the_only_image_of_a_class_to_anyone() -> None:
    labels = Labels(np.append(np.zeros(60, dtype=np.int64), 1))
    owners = {
        next(client for client, share in enumerate(Dirichlet(1000.0).split(labels, 5, rng(seed))) if 60 in share)
        for seed in range(60)
    }
    assert owners == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("alpha", [0.1, 0.3])
def test_a_hopeless_dirichlet_request_ends_with_one_sentence(alpha) -> None:
    labels = Labels(np.arange(2000) % 8)
    with pytest.raises(
        RequestError, match=rf"draws with alpha={alpha} gave each of 500 clients at least 2 of the 2000"
    ):
        Dirichlet(alpha).split(labels, 500, rng())


def test_a_hopeless_dirichlet_request_draws_a_bounded_number_of_proportions() -> None:
    class Counting(np.random.Generator):
        drawn = 0

        def dirichlet(self, alpha, size=None):
            Counting.drawn += len(alpha) * size
            return super().dirichlet(alpha, size)

    labels = Labels((rng().random((3000, 10)) < 0.5).astype(np.int64))  # nearly a thousand label sets
    with pytest.raises(RequestError):
        Dirichlet(1e-4, min_size=5).split(labels, 500, Counting(np.random.PCG64(0)))
    assert 0 < Counting.drawn < 10_000_000


def test_shards_by_hand() -> None:
    # four classes of 30, 30, 30 and 10 images, five clients with one class each: one of the three large ones is halved
    labels = Labels(np.repeat([0, 1, 2, 3], [30, 30, 30, 10]))
    shares = Shards(classes_per_client=1).split(labels, 5, rng())
    assert sorted(len(share) for share in shares) == [10, 15, 15, 30, 30]


def test_shards_gives_everyone_as_many_classes_as_asked() -> None:
    labels = Labels(np.arange(800) % 8)
    for seed in range(10):
        shares = Shards(classes_per_client=2).split(labels, 10, rng(seed))
        assert [len(classes) for classes in classes_of(labels, shares)] == [2] * 10


def test_shards_refuses_what_cannot_hold_all_classes() -> None:
    with pytest.raises(RequestError, match=r"3 clients with at most 2 classes each cannot hold all 8 classes"):
        Shards(classes_per_client=2).split(Labels(np.arange(80) % 8), 3, rng())
    assert len(Shards(classes_per_client=3).split(Labels(np.arange(80) % 8), 3, rng())) == 3  # as the sentence advises


def test_quantity_differs_in_size_but_not_in_kind() -> None:
    labels = Labels(np.arange(8000) % 2)
    shares = Quantity(alpha=0.5).split(labels, 6, rng())
    sizes = [len(share) for share in shares]
    assert max(sizes) > 3 * min(sizes)
    large = [share for share in shares if len(share) > 500]
    assert all(abs(labels.classes[share].mean() - 0.5) < 0.1 for share in large)


def test_sites_refuses_another_number_of_clients() -> None:
    labels = Labels(np.zeros(6, dtype=np.int64), np.array([0, 1, 2, 0, 1, 2]))
    with pytest.raises(RequestError, match=r"got 4 clients for 3 sites. Use --clients 3"):
        Sites().split(labels, 4, rng())


def test_sites_needs_sites() -> None:
    with pytest.raises(RequestError, match="has no site labels"):
        Sites().split(Labels(np.zeros(6, dtype=np.int64)), 2, rng())


@pytest.mark.parametrize("part", PARTS, ids=str)
def test_more_clients_than_images_names_both(part) -> None:
    with pytest.raises(RequestError, match=r"5 training images are too few to give each of 8 clients"):
        part.split(Labels(np.arange(5) % 2), 8, rng())


def test_too_few_images_for_the_minimum_says_what_helps() -> None:
    with pytest.raises(RequestError, match=r"--clients 10 or fewer or --set partitioner.min_size=1"):
        Quantity(min_size=2).split(Labels(np.zeros(20, dtype=np.int64)), 15, rng())
