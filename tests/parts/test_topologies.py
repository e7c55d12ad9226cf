import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench_core.api import SERVER, Turn
from fedbench_core.parts.topologies import Ring, Star
from fedbench_core.testing.examples import moment

presence = st.lists(st.integers(0, 9), unique=True).map(sorted)


def plan(part, present) -> list[list[Turn]]:
    return [list(step) for step in part.plan(present, 10, moment())]


@given(presence)
def test_star_sends_everyone_present_to_the_server_once(present) -> None:
    assert plan(Star(), present) == ([[Turn(client, (SERVER,)) for client in present]] if present else [])
    assert Star().home(3) == SERVER


def test_ring_by_hand() -> None:
    step = [Turn(0, (2,)), Turn(2, (5,)), Turn(5, (0,))]
    assert plan(Ring(), [0, 2, 5]) == [step]
    assert plan(Ring(hops=2), [0, 2, 5]) == [step, step]
    assert plan(Ring(hops=0), [0, 2, 5]) == [step, step, step]
    assert Ring().home(5) == 5


@given(presence, st.integers(0, 4))
def test_ring_leaves_every_inbox_exactly_one_message(present, hops) -> None:
    steps = plan(Ring(hops), present)
    assert len(steps) == ((hops or len(present)) if present else 0)
    for step in steps:
        assert sorted(inbox for turn in step for inbox in turn.writes) == present


@given(presence.filter(bool))
def test_a_full_circle_brings_every_traveller_home_past_everyone(present) -> None:
    at = {client: client for client in present}  # traveller -> inbox
    seen: dict[int, list[int]] = {client: [] for client in present}
    for step in plan(Ring(hops=0), present):
        following = {turn.client: turn.writes[0] for turn in step}
        for traveller, inbox in at.items():
            seen[traveller].append(inbox)
            at[traveller] = following[inbox]
    assert all(inbox == traveller for traveller, inbox in at.items())
    assert all(sorted(hosts) == present for hosts in seen.values())


@pytest.mark.parametrize("hops", [0, 1, 3])
def test_alone_in_the_ring(hops) -> None:
    assert plan(Ring(hops), [4]) == [[Turn(4, (4,))]] * (hops or 1)
