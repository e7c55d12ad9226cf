"""What a topology plans, checked: steps with an end, of turns by those who are there, to places that exist."""

from collections.abc import Collection, Sequence
from itertools import islice

from fedbench_core.api import SERVER, RoundContext, Topology, Turn
from fedbench_core.federation.blame import MisfitError, expect

_MOST_STEPS = 1000
"""Of a round, or ten per client if that is more: a full circle has as many as clients."""


def planned(topology: Topology, present: Sequence[int], clients: int, ctx: RoundContext) -> list[list[Turn]]:
    """The steps of a round, each in order of client; MisfitError for a plan that cannot be carried out."""
    most = max(_MOST_STEPS, 10 * clients)
    steps = [list(turns) for turns in islice(topology.plan(present, clients, ctx), most + 1)]
    if len(steps) > most:
        raise MisfitError(f"its plan for round {ctx.round} has more than {most} steps; does it end?")
    for turns in steps:
        _check(turns, set(present), clients)
    return [sorted(turns, key=lambda turn: turn.client) for turns in steps]


def _check(turns: Sequence[Turn], present: Collection[int], clients: int) -> None:
    for turn in turns:
        if not isinstance(turn, Turn):
            raise MisfitError(f"its plan holds {type(turn).__name__}; expected Turn")
        for number in (turn.client, *turn.writes):
            expect(number, int, f"{number}, a client or place of its plan,")
        if turn.client not in present:
            raise MisfitError(f"it plans a turn of client {turn.client}, who is not there.")
        for place in turn.writes:
            if place not in range(SERVER, clients):
                raise MisfitError(f"it writes to place {place}, which does not exist.")
    visitors = [turn.client for turn in turns]
    twice = {client for client in visitors if visitors.count(client) > 1} if len(set(visitors)) < len(visitors) else ()
    if twice:
        raise MisfitError(f"it plans two turns of client {min(twice)} in one step.")
