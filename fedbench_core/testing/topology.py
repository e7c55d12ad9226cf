"""The contract of topologies."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

import pytest

from fedbench_core.api import SERVER, Node, Phase, RoundContext, Topology, Turn
from fedbench_core.testing.contract import PartContract, Trace, global_state_untouched
from fedbench_core.testing.examples import moment

CLIENTS = 6
MOST_PHASES = 1000

each_participation = pytest.mark.parametrize(
    "participating", [list(range(CLIENTS)), [0, 2, 5], [1, 4], [3]], ids=["all", "three", "two", "one"]
)


def _context(number: int) -> RoundContext:
    return replace(moment(number, CLIENTS), backbones=("resnet18",) * CLIENTS)


def _phases(part: Topology, participating: Sequence[int], number: int = 0) -> list[Phase]:
    plan = part.plan(tuple(participating), CLIENTS, _context(number))
    phases = list(islice(plan, MOST_PHASES))
    assert len(phases) < MOST_PHASES, f"a plan of {MOST_PHASES} phases or more for {CLIENTS} clients: does it end?"
    for phase in phases:
        assert isinstance(phase, Phase), f"its plan holds {type(phase).__name__}; expected Phase"
    return phases


class TopologyContract(PartContract[Topology]):
    """Plans name clients and nodes that exist, depend on the context only, and let information reach every client."""

    kind = "topology"

    @pytest.fixture
    def trace(self, part: Topology) -> Trace:
        """The plans of several rounds."""
        return lambda: [_phases(part, range(CLIENTS), number) for number in range(3)]

    def test_source_is_a_node(self, part: Topology) -> None:
        """A client's models follow from what the server published, or from its own inbox; always the same."""
        for client in range(CLIENTS):
            node = part.receives_from(client)
            assert node in {SERVER, client}, (
                f"client {client} receives from {node}; expected SERVER ({SERVER}) or {client}, its own inbox"
            )
            assert part.receives_from(client) == node, (
                f"the source of client {client} changed: receives_from depends on the client only"
            )

    @each_participation
    def test_turns_are_valid(self, part: Topology, participating: list[int]) -> None:
        """Only participating clients take turns, at most one per phase, and they send to nodes that exist."""
        for number in range(CLIENTS):
            for index, phase in enumerate(_phases(part, participating, number)):
                _check_clients(phase, index, participating)
                for turn in phase.turns:
                    _check_nodes(part, turn, participating)

    @each_participation
    def test_something_is_sent(self, part: Topology, participating: list[int]) -> None:
        """In a round with participating clients, at least one message is sent."""
        sent = [turn for phase in _phases(part, participating) for turn in phase.turns if turn.sends_to]
        assert sent, f"nothing is sent in a round of clients {participating}: no client would learn from another"

    @each_participation
    def test_same_context_same_plan(self, part: Topology, participating: list[int]) -> None:
        """Equal contexts give equal plans, whatever was planned before, from any instance of the part."""
        first = _phases(part, participating, number=1)
        _phases(part, [0, 1], number=2)
        for again in (part, self.make()):
            assert _phases(again, participating, number=1) == first, (
                "the same context gave another plan: draw from ctx.rng(...), keep nothing in the part"
            )

    def test_no_client_participates(self, part: Topology) -> None:
        """A round without clients has no turns."""
        turns = [turn for phase in _phases(part, []) for turn in phase.turns]
        assert not turns, f"no client participates, but the plan has {turns}: return an empty plan"

    def test_schedule_repeats_after_its_period(self, part: Topology) -> None:
        """The period is a number of rounds, and with all clients the plan of a round is that of a period later."""
        period = part.period(CLIENTS)
        assert isinstance(period, int), f"its period is {period!r}; expected a number of rounds"
        assert period >= 1, f"its period is {period!r}; expected a number of rounds"
        for number in range(period) if period > 1 else ():
            assert _phases(part, range(CLIENTS), number) == _phases(part, range(CLIENTS), number + period), (
                f"the plan of round {number + period} is not that of round {number}, a period of {period} rounds before"
            )

    def test_information_reaches_every_client(self, part: Topology) -> None:
        """Information of every client reaches every other within as many rounds as there are clients."""
        if not part.connected:
            pytest.skip("this topology declares that it does not connect all clients (connected = False)")
        known = _spread(part)
        missing = {client: sorted(set(range(CLIENTS)) - ones) for client, ones in known.items() if len(ones) < CLIENTS}
        assert not missing, (
            f"after {CLIENTS} rounds these clients have received nothing of: {missing}. Correct the plan, or declare "
            "connected = False in the topology."
        )

    def test_global_state_is_untouched(self, part: Topology) -> None:
        """No global generator is read or seeded, no shared setting is changed."""
        with global_state_untouched(f"{self.name}.plan"):
            _phases(part, range(CLIENTS))


def _check_clients(phase: Phase, index: int, participating: list[int]) -> None:
    assert all(isinstance(turn, Turn) for turn in phase.turns), f"phase {index} is {phase.turns}; expected Turns"
    named = [one for turn in phase.turns for one in (turn.client, *turn.sends_to)]
    odd = {type(one).__name__ for one in named if not isinstance(one, int)}
    assert not odd, f"phase {index} has clients or nodes of type {', '.join(sorted(odd))}; expected int(...)"
    assert isinstance(phase.kind, str), f"the kind of phase {index} is {phase.kind!r}; expected a string"
    clients = [turn.client for turn in phase.turns]
    assert set(clients) <= set(participating), (
        f"phase {index} plans turns of {clients}, but only {participating} participate: plan for those only"
    )
    assert len(clients) == len(set(clients)), f"a client takes two turns in phase {index}: {clients}"


def _check_nodes(part: Topology, turn: Turn, participating: list[int]) -> None:
    who = f"client {turn.client}"
    assert turn.receives_from in {None, SERVER, turn.client}, (
        f"{who} receives from {turn.receives_from}; expected the server ({SERVER}), its own inbox, or None"
    )
    assert set(turn.sends_to) <= {SERVER, *range(CLIENTS)}, (
        f"{who} sends to {turn.sends_to}; nodes are {SERVER} (server) and 0..{CLIENTS - 1}"
    )
    absent = set(turn.sends_to) - {SERVER, *participating}
    assert part.reaches_absent or not absent, (
        f"{who} sends to {sorted(absent)}, which don't participate: declare reaches_absent = True if that is intended"
    )
    assert len(set(turn.sends_to)) == len(turn.sends_to), f"{turn} names a node twice"


def _spread(part: Topology) -> dict[int, set[int]]:
    """Whose information each client has after as many rounds as clients, when all pass on all that they have."""
    known = {client: {client} for client in range(CLIENTS)}
    nodes: dict[Node, set[int]] = {}
    for number in range(CLIENTS):
        for phase in _phases(part, range(CLIENTS), number):
            for turn in phase.turns:
                if turn.receives_from is not None:
                    known[turn.client] |= nodes.get(turn.receives_from, set())
            messages = [(node, known[turn.client]) for turn in phase.turns for node in turn.sends_to]
            for node in {node for node, _ in messages}:
                nodes[node] = set().union(*(ones for to, ones in messages if to == node))
    return {client: ones | nodes.get(part.receives_from(client), set()) for client, ones in known.items()}
