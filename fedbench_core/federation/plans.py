"""What a topology plans, checked: steps with an end, of visits by those who are there, to places that exist."""

from collections.abc import Collection, Sequence
from itertools import islice

from fedbench_core.api import HUB, RoundContext, Topology, Visit
from fedbench_core.federation.blame import MisfitError, expect

_MOST_STEPS = 1000
"""Of a round, or ten per client if that is more: a full circle has as many as clients."""


def planned(topology: Topology, present: Sequence[int], clients: int, ctx: RoundContext) -> list[list[Visit]]:
    """The steps of a round, each in order of client; MisfitError for a plan that cannot be carried out."""
    most = max(_MOST_STEPS, 10 * clients)
    steps = [list(visits) for visits in islice(topology.plan(present, clients, ctx), most + 1)]
    if len(steps) > most:
        raise MisfitError(f"its plan for round {ctx.round} has more than {most} steps; does it end?")
    for visits in steps:
        _check(visits, set(present), clients)
    return [sorted(visits, key=lambda visit: visit.client) for visits in steps]


def _check(visits: Sequence[Visit], present: Collection[int], clients: int) -> None:
    for visit in visits:
        if not isinstance(visit, Visit):
            raise MisfitError(f"its plan holds {type(visit).__name__}; expected Visit")
        for number in (visit.client, *visit.writes):
            expect(number, int, f"{number}, a client or place of its plan,")
        if visit.client not in present:
            raise MisfitError(f"it plans a visit of client {visit.client}, who is not there.")
        for place in visit.writes:
            if place not in range(HUB, clients):
                raise MisfitError(f"it writes to place {place}, which does not exist.")
    visitors = [visit.client for visit in visits]
    twice = {client for client in visitors if visitors.count(client) > 1} if len(set(visitors)) < len(visitors) else ()
    if twice:
        raise MisfitError(f"it plans two visits of client {min(twice)} in one step.")
