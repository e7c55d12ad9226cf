"""Which traveler is where, with and without absent clients: real updates over the real ring and relay."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedbench_core import RunSpec
from fedbench_core.api import RequestError
from fedbench_core.federation.assembly import resolve
from fedbench_fedskd import FedSKD

PLAIN = FedSKD(distil="none", warmup=0)
presence = st.integers(2, 7).flatmap(
    lambda count: st.tuples(st.just(count), st.lists(st.sampled_from(range(count)), min_size=1, unique=True))
)
varying = st.integers(2, 7).flatmap(
    lambda count: st.tuples(st.just(count), st.lists(st.sets(st.sampled_from(range(count))), min_size=1, max_size=12))
)


def points(federation, count, **options):
    return federation(PLAIN, ["point"] * count, steps=1, images=4, **options)


def test_travelers_return_after_a_full_circle(federation):
    ring = points(federation, 3)
    seen = []
    for _ in range(4):
        seen.append(ring.owners())
        ring.round()
    assert seen == [{}, {0: 2, 1: 0, 2: 1}, {0: 1, 1: 2, 2: 0}, {0: 0, 1: 1, 2: 2}]
    assert ring.hosted == {0: [None, 2, 1, 0], 1: [None, 0, 2, 1], 2: [None, 1, 0, 2]}


@settings(max_examples=20, deadline=None)
@given(presence)
def test_travelers_of_a_fixed_subset_return_after_its_full_circle(federation, case):
    count, present = case
    ring = points(federation, count)
    for _ in present:
        ring.round(present)
    assert ring.owners() == {client: client for client in present}  # returned, and not yet hosted
    ring.round(present)
    for client in present:
        departure, *visitors = ring.hosted[client]
        assert departure is None
        assert visitors[-1] == client
        assert sorted(visitors) == sorted(present)  # each exactly once


@settings(max_examples=10, deadline=None)
@given(presence)
def test_full_circle_can_be_one_round(federation, case):
    count, present = case
    ring = points(federation, count, hops=0)
    ring.round(present)
    assert ring.owners() == {client: client for client in present}
    ring.round(present)
    assert all(sorted(ring.hosted[client][-len(present) :]) == sorted(present) for client in present)


@settings(max_examples=20, deadline=None)
@given(varying)
def test_travelers_are_neither_lost_nor_doubled_under_varying_absence(federation, case):
    count, rounds = case
    ring = points(federation, count)
    ever = set()
    for present in rounds:
        waiting = {inbox: payload for inbox, payload in ring.inboxes.items() if inbox not in present}
        ring.round(present)
        ever |= present
        owners = ring.owners()
        assert sorted(owners.values()) == sorted(ever)  # distinct, and all of them
        assert set(owners) == ever
        assert all(ring.inboxes[inbox] is payload for inbox, payload in waiting.items())  # stays in its inbox


@settings(max_examples=20, deadline=None)
@given(varying)
def test_owner_of_a_traveler_decides_that_it_has_returned(federation, case):
    count, rounds = case
    ring = federation(FedSKD(distil="none", warmup=0, merge="replace"), ["point"] * count, steps=1, images=4)
    for present in rounds:
        updates = ring.round(present)
        for client, update in updates.items():
            resident = ring.clients[client].models["resident"].state_dict()
            same = all((update.payload.tensors[name] == resident[name]).all() for name in resident)
            home = ring.hosted[client][-1] in (None, client)
            assert same == home
            assert (update.payload.meta["owner"] == str(client)) == home


def test_travelers_are_never_averaged_with_each_other():
    with pytest.raises(RequestError, match="star"):
        resolve(RunSpec(method="fedskd", topology="star"))
    with pytest.raises(RequestError, match=r"relay.*mean"):
        resolve(RunSpec(method="fedskd", topology="star", aggregator="mean"))
