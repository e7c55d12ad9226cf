"""Clients that are held out of training, and tested."""

import numpy as np
import pytest

from fedbench_core import RunSpec, run
from fedbench_core.api import SPLITS, RequestError
from fedbench_core.federation.assembly import resolve
from fedbench_core.federation.partition import make_partition
from fedbench_core.leaderboard.columns import UNSEEN
from fedbench_core.records.majority import majority_scores
from fedbench_core.records.record import comparable, read_record
from fedbench_core.runner import How, load, resume

SITES = {"partitioner": "sites", "dataset.sites": 4}


@pytest.fixture
def partition(spec):
    def make(clients=5, **settings):
        resolved = resolve(spec("local", clients=clients, **settings))
        return make_partition(resolved, load(resolved, How()))

    return make


def _images(partition, group, split):
    """The images of each client of a group, as rows of the whole split."""
    whole = getattr(partition.splits, split).indices if group is partition else slice(None)
    return [np.arange(1000)[whole][rows].tolist() for rows in group.indices[split]]


@pytest.mark.parametrize("settings", [{}, {"limit": 40}, {"public": "0.1"}, {"clients": 4, **SITES}], ids=str)
def test_clients_that_train_have_the_images_that_they_have_without_hold_out(partition, settings) -> None:
    whole, some = partition(**settings), partition(**settings, **_held(settings, 2))
    for split in SPLITS:
        before = _images(whole, whole, split)
        kept, held = _images(some, some, split), _images(some, some.held_out, split)
        assert [rows for rows in before if rows in kept] == kept
        assert [rows for rows in before if rows in held] == held
        assert sorted(kept + held) == sorted(before)
    assert np.concatenate([some.counts, some.held_out.counts]).sum() == whole.counts.sum()


def _held(settings, number):
    return {"hold_out_sites" if "partitioner" in settings else "hold_out_clients": number}


def test_held_out_clients_are_drawn_by_the_seed_alone_and_nested(partition) -> None:
    one, two, other = (
        partition(clients=9, **{"hold_out_clients": k, "partitioner": "iid", **more})
        for k, more in ((1, {}), (2, {"lr": 0.3, "rounds": 7}), (2, {"seed": 5}))
    )
    names = [{tuple(rows.tolist()) for rows in each.held_out.indices["test"]} for each in (one, two, other)]
    assert names[0] < names[1]
    assert names[1] != names[2]


def test_validation_sees_no_image_of_a_held_out_client(partition) -> None:
    some = partition(clients=4, **SITES, hold_out_sites=1)
    [site] = some.held_out.sites
    assert len(some.sites) == 3
    assert site not in some.sites
    for split in ("train", "val"):
        seen = some.splits.sites[split][getattr(some.splits, split).indices]
        assert {str(number) for number in seen} == set(some.sites)


def test_public_images_are_of_no_site_that_is_held_out(partition) -> None:
    settings = {"clients": 4, **SITES, "public": "0.3"}
    whole, some = partition(**settings), partition(**settings, hold_out_sites=2)
    sites = whole.splits.sites["train"].astype(str)
    of_others = [row for row in whole.public.indices if sites[row] in some.sites]
    assert some.public.indices.tolist() == of_others
    assert 0 < len(of_others) < len(whole.public)


def test_public_images_of_held_out_sites_alone_are_refused(partition) -> None:
    def outcome(seed: int) -> str:  # of one public image
        try:
            made = partition(clients=4, **SITES, public="0.01", hold_out_sites=3, seed=seed)
        except RequestError as error:
            return str(error)
        return f"{len(made.public)} left"

    outcomes = [outcome(seed) for seed in range(9)]
    refused = [one for one in outcomes if "--public" in one and "held out" in one]
    assert 0 < len(refused) < len(outcomes)
    assert {*outcomes} - {*refused} == {"1 left"}


@pytest.mark.parametrize(
    "settings",
    [
        {"hold_out_clients": 3},
        {"hold_out_clients": 4},
        {"hold_out_sites": 3, "partitioner": "sites", "dataset.sites": 3},
        {"hold_out_sites": 1},
        {"hold_out_clients": 1, "hold_out_sites": 1, "partitioner": "sites", "dataset.sites": 3},
    ],
    ids=str,
)
def test_hold_out_that_leaves_nobody_or_has_no_sites_is_refused(spec, settings) -> None:
    with pytest.raises(RequestError, match="--hold-out"):
        resolve(spec("local", **settings))


@pytest.mark.parametrize(
    ("method", "settings", "role"),
    [
        ("fedavg", {}, "global"),
        ("fedavg-ft", {}, "global"),
        ("local", {}, "model"),
        ("local", SITES, "model"),
        ("centralized", {}, "model"),
        ("local", {"dataset.labels": "multi-label"}, "model"),
    ],
    ids=str,
)
def test_score_of_unseen_clients_is_that_of_the_common_model_or_the_mean_of_all(go, method, settings, role) -> None:
    record = read_record(go(method, clients=4, **settings, **_held(settings, 1)).folder)  # checked against correctness
    test, population = record["test"], record["population"]
    assert (test["unseen_role"], population["clients"], population["trained"]) == (
        role,
        3,
        len(population["backbones"]),
    )
    summary = test if test["role"] == role else test["roles"][role]
    assert UNSEEN.read(record) == summary["metrics"]["unseen"]
    assert 0 <= UNSEEN.read(record) <= 1
    assert all("unseen" not in point for point in record["curve"])


def test_unseen_score_of_the_most_frequent_class_by_hand(go) -> None:
    record = go("majority", clients=4, hold_out_clients=1).record
    counts, [held] = np.array(record["population"]["counts"]), record["population"]["held_out"]["counts"]
    expected = np.mean([held[own.argmax()] / sum(held) for own in counts])
    assert record["test"]["metrics"]["unseen"] == pytest.approx(expected)
    assert majority_scores(record)["unseen"] == pytest.approx(expected)


def test_hold_out_gives_the_same_record_on_workers(go, tmp_path) -> None:
    settings = {"clients": 4, "hold_out_sites": 1, **SITES}
    alone = go("fedavg-ft", **settings)
    together = run(RunSpec.of(alone.record["spec"]), How(out=tmp_path, workers=2))
    assert comparable(together.record) == comparable(alone.record)


def test_hold_out_is_resumed_to_the_same_record(go, tmp_path) -> None:
    def stop(event):
        if event.done == 2:
            raise KeyboardInterrupt

    alone = go("fedavg-ft", clients=4, hold_out_sites=1, **SITES)
    with pytest.raises(KeyboardInterrupt):
        run(RunSpec.of(alone.record["spec"]), How(out=tmp_path, executor="serial"), stop)
    resumed = resume(next(tmp_path.iterdir()), How(executor="serial"))
    assert comparable(resumed.record) == comparable(alone.record)
