from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench_core.api import SPLITS, RequestError
from fedbench_core.federation.assembly import resolve
from fedbench_core.federation.partition import apportion, load_public, make_partition
from fedbench_core.runner import How, load


@pytest.fixture
def shares(spec):
    """The shares of a small spec."""

    def make(method="local", **settings):
        setting = resolve(spec(method, **settings))
        return make_partition(setting, load(setting, How()))

    return make


@pytest.mark.parametrize(
    ("total", "weights", "expected"),
    [
        (10, [1, 1, 1], [4, 3, 3]),  # 3 1/3 each: the tie goes to the lower id
        (7, [5, 3, 2], [4, 2, 1]),  # 3.5, 2.1, 1.4: one left, for the largest remainder
        (5, [1, 2, 3], [1, 2, 2]),  # 0.83, 1.67, 2.5: two left, for .83 and .67
        (6, [1, 1, 1, 1], [2, 2, 1, 1]),
        (4, [0, 3, 1], [0, 3, 1]),
        (3, [0, 0, 5], [0, 0, 3]),
        (4, [0, 0, 0], [2, 1, 1]),  # a class nobody trains on is dealt evenly
        (0, [2, 1], [0, 0]),
    ],
)
def test_quotas_by_hand(total, weights, expected) -> None:
    assert apportion(total, np.array(weights)).tolist() == expected


@given(total=st.integers(0, 10_000), weights=st.lists(st.integers(0, 10**9), min_size=1, max_size=12).filter(sum))
def test_quotas_are_floors_plus_the_largest_remainders(total, weights) -> None:
    quotas = [Fraction(total * weight, sum(weights)) for weight in weights]
    floors = [int(quota) for quota in quotas]
    order = sorted(range(len(weights)), key=lambda i: (floors[i] - quotas[i], i))
    expected = [floor + (i in order[: total - sum(floors)]) for i, floor in enumerate(floors)]
    assert apportion(total, np.array(weights)).tolist() == expected


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"clients": 5, "partitioner.alpha": 0.1, "partitioner.min_size": 1},
        {"clients": 1},
        {"clients": 24, "partitioner": "quantity"},
        {"partitioner": "shards"},
        {"partitioner": "sites", "dataset.sites": 3},
        {"dataset.labels": "multi-label", "partitioner": "iid"},
        {"limit": 31, "partitioner": "iid"},
    ],
    ids=str,
)
def test_shares_are_disjoint_and_complete(shares, settings) -> None:
    dealt = shares(**settings)
    sizes = {"train": settings.get("limit", 60), "val": 24, "test": 30}
    for split in SPLITS:
        rows = np.concatenate(dealt.indices[split])
        assert len(dealt.indices[split]) == settings.get("clients", 3)
        assert len(rows) == len(set(rows.tolist())) == sizes[split]
        assert set(rows.tolist()) <= set(range(len(getattr(dealt.splits, split))))
        assert all((np.diff(own) > 0).all() for own in dealt.indices[split])
        assert np.array_equal(dealt.centralized.examples(split, 0).indices, np.sort(rows))


def test_local_test_sets_follow_the_training_shares(shares) -> None:
    dealt = shares(**{"partitioner.alpha": 0.3})
    train, test = (np.asarray(getattr(dealt.splits, split).labels)[:, 0] for split in ("train", "test"))
    trained = np.array([np.bincount(train[rows], minlength=3) for rows in dealt.indices["train"]])
    assert np.array_equal(dealt.counts, trained)
    tested = np.array([np.bincount(test[rows], minlength=3) for rows in dealt.indices["test"]])
    for kind in range(3):
        assert tested[:, kind].tolist() == apportion(10, trained[:, kind]).tolist()


def test_multi_label_shares_follow_the_label_sets(shares) -> None:
    dealt = shares(**{"dataset.labels": "multi-label", "dataset.test": 400, "dataset.train": 400})
    train, test = (np.asarray(getattr(dealt.splits, split).labels) @ [4, 2, 1] for split in ("train", "test"))
    for kind in range(8):
        trained = np.array([(train[rows] == kind).sum() for rows in dealt.indices["train"]])
        tested = [int((test[rows] == kind).sum()) for rows in dealt.indices["test"]]
        assert tested == apportion(int((test == kind).sum()), trained).tolist()


def test_a_clients_test_images_are_of_its_own_site(shares) -> None:
    dealt = shares(partitioner="sites", **{"dataset.sites": 3})
    for split in SPLITS:
        for client, rows in enumerate(dealt.indices[split]):
            assert set(dealt.splits.sites[split][rows].tolist()) == {client}


def test_sites_keep_their_names(shares) -> None:
    assert shares(partitioner="sites", **{"dataset.sites": 3}).sites == ("0", "1", "2")  # the dataset has no names
    assert shares(partitioner="sites", dataset="phantom", clients=4).sites == tuple(f"scanner {n}" for n in range(4))
    assert shares(dataset="phantom").sites == ()


def test_which_images_of_a_class_is_drawn_from_the_seed(shares) -> None:
    def rows(**settings):
        return [own.tolist() for own in shares(partitioner="iid", **settings).indices["test"]]

    assert rows() == rows()
    assert rows() != rows(seed=1)


def test_methods_are_paired_on_the_same_shares(shares) -> None:
    asked = {"limit": 40, "partitioner.alpha": 0.5}
    mine, other = shares("local", **asked), shares("fedprox", lr=0.3, backbones="wide", **asked)
    for split in SPLITS:
        assert all(map(np.array_equal, mine.indices[split], other.indices[split]))


def test_a_limit_keeps_the_proportions_of_the_classes(shares) -> None:
    dealt = shares(limit=31, partitioner="iid")
    assert dealt.counts.sum(axis=0).tolist() == [11, 10, 10]


def test_a_limit_above_the_images_changes_nothing(shares) -> None:
    assert len(shares(limit=1000).centralized.examples("train", 0)) == 60


def test_a_limit_below_the_clients_is_refused(shares) -> None:
    with pytest.raises(RequestError, match="--limit 2 leaves fewer images than --clients 3"):
        shares(limit=2)


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        ({"dataset.train": 6}, "spots has 6 train images, fewer than --clients 7. Use --clients 6 or fewer"),
        ({"dataset.val": 5}, "spots has 5 val images, fewer than --clients 7. Use --clients 5 or fewer"),
        ({"dataset.test": 4}, "spots has 4 test images, fewer than --clients 7. Use --clients 4 or fewer"),
    ],
)
def test_more_clients_than_images_of_a_split_are_refused(shares, sizes, says) -> None:
    with pytest.raises(RequestError) as caught:
        shares(clients=7, partitioner="iid", **sizes)
    assert says in str(caught.value)


def test_a_draw_that_cannot_be_had_is_refused(shares) -> None:
    with pytest.raises(RequestError, match="None of 1000 Dirichlet draws"):
        shares(clients=20, **{"partitioner.alpha": 0.001})


def test_sites_need_as_many_clients(shares) -> None:
    with pytest.raises(RequestError, match="Use --clients 4"):
        shares(partitioner="sites", clients=3, **{"dataset.sites": 4})
    with pytest.raises(RequestError, match="has no site labels"):
        shares(partitioner="sites")


@pytest.mark.parametrize("fraction", ["0.1", "0.5"])
def test_public_images_are_stratified_and_belong_to_no_client(shares, fraction) -> None:
    made = shares(public=fraction, partitioner="iid")
    public = made.public.indices
    private = np.concatenate(made.indices["train"])
    assert len(public) == round(60 * float(fraction))
    assert sorted([*public, *private]) == list(range(60))
    labels = np.asarray(made.splits.train.labels)[public, 0]
    assert np.ptp(np.bincount(labels, minlength=3)) <= 1
    assert not hasattr(made.public, "labels")
    assert made.public.tensors()[1].shape == (len(public), 0)


def test_public_images_are_the_same_for_all_methods_and_differ_by_seed(shares) -> None:
    first = shares(public="0.3").public.indices
    assert np.array_equal(first, shares("fedprox", public=0.3, lr=0.5).public.indices)
    assert not np.array_equal(first, shares(public="0.3", seed=1).public.indices)


def test_public_images_are_drawn_from_the_limited_ones(shares) -> None:
    made = shares(public="0.5", limit=30, partitioner="iid")
    assert (len(made.public), sum(map(len, made.indices["train"]))) == (15, 15)


def test_public_images_of_another_dataset_leave_the_training_images_alone(spec) -> None:
    run = resolve(spec("local", public="spots", **{"public.train": 12}))
    splits = load(run, How())
    made = make_partition(run, splits, load_public(run, How().request(run.spec), splits))
    assert len(made.public) == 12
    assert sum(map(len, made.indices["train"])) == 60


@pytest.mark.parametrize(("public", "told"), [("0.001", "0 public"), ("0.99", "--clients 3")])
def test_public_fraction_that_leaves_no_images_is_refused(shares, public, told) -> None:
    with pytest.raises(RequestError, match=told):
        shares(public=public, partitioner="iid")


@pytest.mark.parametrize("public", ["0", "1", "1.5", "-0.1"])
def test_public_fraction_out_of_range_is_refused(spec, public) -> None:
    with pytest.raises(RequestError, match="--public"):
        spec("local", public=public)


def test_public_dataset_of_another_kind_is_refused(spec, tmp_path) -> None:
    rng = np.random.default_rng(0)
    arrays = {}
    for split in SPLITS:
        arrays[f"{split}_images"] = rng.integers(0, 255, (12, 8, 8), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(12)[:, None] % 2
    np.savez(tmp_path / "gray.npz", **arrays)
    run = resolve(spec("local", public=f"npz:{tmp_path / 'gray.npz'}"))
    how = How(cache=tmp_path / "cache")
    splits = load(run, how)
    with pytest.raises(RequestError, match=r"1 channels.*3 channels"):
        make_partition(run, splits, load_public(run, how.request(run.spec), splits))
