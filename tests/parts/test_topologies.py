import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench_core.api import SERVER, Turn
from fedbench_core.parts.topologies import Ring, Star
from fedbench_core.testing.examples import moment

participants = st.lists(st.integers(0, 9), unique=True).map(sorted)


def plan(part, clients) -> list[list[Turn]]:
    return [list(phase.turns) for phase in part.plan(clients, 10, moment())]


@given(participants)
def test_star_sends_every_participant_to_the_server_once(clients) -> None:
    assert plan(Star(), clients) == ([[Turn(client, (SERVER,), SERVER) for client in clients]] if clients else [])
    assert Star().receives_from(3) == SERVER


def test_ring_by_hand() -> None:
    turns = [Turn(0, (2,), 0), Turn(2, (5,), 2), Turn(5, (0,), 5)]
    assert plan(Ring(), [0, 2, 5]) == [turns]
    assert plan(Ring(hops=2), [0, 2, 5]) == [turns, turns]
    assert plan(Ring(hops=0), [0, 2, 5]) == [turns, turns, turns]
    assert Ring().receives_from(5) == 5


@given(participants, st.integers(0, 4))
def test_ring_sends_every_inbox_exactly_one_message(clients, hops) -> None:
    phases = plan(Ring(hops), clients)
    assert len(phases) == ((hops or len(clients)) if clients else 0)
    for turns in phases:
        assert sorted(inbox for turn in turns for inbox in turn.sends_to) == clients


@given(participants.filter(bool))
def test_full_circle_brings_every_model_back_past_every_client(clients) -> None:
    at = {client: client for client in clients}  # model -> inbox
    seen: dict[int, list[int]] = {client: [] for client in clients}
    for turns in plan(Ring(hops=0), clients):
        following = {turn.client: turn.sends_to[0] for turn in turns}
        for model, inbox in at.items():
            seen[model].append(inbox)
            at[model] = following[inbox]
    assert all(inbox == model for model, inbox in at.items())
    assert all(sorted(hosts) == clients for hosts in seen.values())


@pytest.mark.parametrize("hops", [0, 1, 3])
def test_client_that_is_alone_sends_to_itself(hops) -> None:
    assert plan(Ring(hops), [4]) == [[Turn(4, (4,), 4)]] * (hops or 1)
