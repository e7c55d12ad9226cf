import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench_core.api import HUB, Visit
from fedbench_core.parts.topologies import Ring, Star
from fedbench_core.testing.examples import moment

presence = st.lists(st.integers(0, 9), unique=True).map(sorted)


def plan(part, present) -> list[list[Visit]]:
    return [list(step) for step in part.plan(present, 10, moment())]


@given(presence)
def test_star_sends_everyone_present_to_the_hub_once(present) -> None:
    assert plan(Star(), present) == ([[Visit(client, (HUB,)) for client in present]] if present else [])
    assert Star().home(3) == HUB


def test_ring_by_hand() -> None:
    step = [Visit(0, (2,)), Visit(2, (5,)), Visit(5, (0,))]
    assert plan(Ring(), [0, 2, 5]) == [step]
    assert plan(Ring(hops=2), [0, 2, 5]) == [step, step]
    assert plan(Ring(hops=0), [0, 2, 5]) == [step, step, step]
    assert Ring().home(5) == 5


@given(presence, st.integers(0, 4))
def test_ring_leaves_every_desk_exactly_one_letter(present, hops) -> None:
    steps = plan(Ring(hops), present)
    assert len(steps) == ((hops or len(present)) if present else 0)
    for step in steps:
        assert sorted(desk for visit in step for desk in visit.writes) == present


@given(presence.filter(bool))
def test_a_full_circle_brings_every_traveller_home_past_everyone(present) -> None:
    at = {client: client for client in present}  # traveller -> desk
    seen: dict[int, list[int]] = {client: [] for client in present}
    for step in plan(Ring(hops=0), present):
        following = {visit.client: visit.writes[0] for visit in step}
        for traveller, desk in at.items():
            seen[traveller].append(desk)
            at[traveller] = following[desk]
    assert all(desk == traveller for traveller, desk in at.items())
    assert all(sorted(hosts) == present for hosts in seen.values())


@pytest.mark.parametrize("hops", [0, 1, 3])
def test_alone_in_the_ring(hops) -> None:
    assert plan(Ring(hops), [4]) == [[Visit(4, (4,))]] * (hops or 1)
