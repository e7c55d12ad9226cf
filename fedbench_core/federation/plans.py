"""A topology's plan of a round, checked: it ends, and its turns are possible."""

from collections.abc import Collection, Sequence
from itertools import islice

from fedbench_core.api import SERVER, Phase, RoundContext, Topology, Turn
from fedbench_core.federation.blame import MisfitError, expect
from fedbench_core.federation.calls import node_name

_MOST_PHASES = 1000
"""Of a round, or ten per client if that is more: a full circle has as many as clients."""


def planned(topology: Topology, participating: Sequence[int], clients: int, ctx: RoundContext) -> list[Phase]:
    """The phases of a round, each in order of client; MisfitError for a plan that can't be carried out."""
    most = max(_MOST_PHASES, 10 * clients)
    phases = list(islice(topology.plan(participating, clients, ctx), most + 1))
    if len(phases) > most:
        raise MisfitError(f"its plan for round {ctx.round} has more than {most} phases; does it end?")
    reachable = range(clients) if topology.reaches_absent else participating
    for phase in phases:
        expect(phase, Phase, "an item of its plan")
        _check(phase.turns, set(participating), {SERVER, *reachable}, clients)
    return [Phase(sorted(phase.turns, key=lambda turn: turn.client), phase.kind) for phase in phases]


def _check(turns: Sequence[Turn], participating: Collection[int], reachable: Collection[int], clients: int) -> None:
    for turn in turns:
        if not isinstance(turn, Turn):
            raise MisfitError(f"its plan holds {type(turn).__name__}; expected Turn")
        for number in (turn.client, *turn.sends_to):
            expect(number, int, f"{number}, a client or node of its plan,")
        if turn.client not in participating:
            raise MisfitError(f"it plans a turn of client {turn.client}, which does not take part in the round.")
        if turn.receives_from not in (None, SERVER, turn.client):
            raise MisfitError(
                f"client {turn.client} is to receive from {turn.receives_from}; expected the server ({SERVER}), "
                f"its own inbox ({turn.client}) or None"
            )
        for node in turn.sends_to:
            if node not in reachable:
                raise MisfitError(f"client {turn.client} is to send to {_unreachable(node, clients)}.")
    clients_in_turn = [turn.client for turn in turns]
    if len(set(clients_in_turn)) < len(turns):
        twice = min(client for client in clients_in_turn if clients_in_turn.count(client) > 1)
        raise MisfitError(f"it plans two turns of client {twice} in one phase.")


def _unreachable(node: int, clients: int) -> str:
    if node not in range(SERVER, clients):
        return f"node {node}, which does not exist"
    return f"{node_name(node)}, which does not take part in the round (reaches_absent = True allows that)"
