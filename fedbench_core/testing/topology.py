"""What every topology keeps to."""

from collections.abc import Sequence
from itertools import islice

import pytest

from fedbench_core.api import SERVER, Place, Topology, Turn
from fedbench_core.testing.contract import PartContract, Trace, global_state_untouched
from fedbench_core.testing.examples import moment

CLIENTS = 6
MOST_STEPS = 1000

each_presence = pytest.mark.parametrize(
    "present", [list(range(CLIENTS)), [0, 2, 5], [1, 4], [3]], ids=["all", "three", "two", "one"]
)


def _steps(part: Topology, present: Sequence[int], number: int = 0, rounds: int = CLIENTS) -> list[list[Turn]]:
    plan = part.plan(tuple(present), CLIENTS, moment(number, rounds))
    steps = [list(step) for step in islice(plan, MOST_STEPS)]
    assert len(steps) < MOST_STEPS, f"a plan of {MOST_STEPS} steps and more for {CLIENTS} clients: does it end?"
    return steps


class TopologyContract(PartContract[Topology]):
    """Plans that name real clients and places, that follow from the context, and that let news reach everyone."""

    kind = "topology"

    @pytest.fixture
    def trace(self, part: Topology) -> Trace:
        """The plans of some rounds."""
        return lambda: [_steps(part, range(CLIENTS), number) for number in range(3)]

    def test_homes_are_places(self, part: Topology) -> None:
        """A client hears at the server or at its own inbox, always the same."""
        for client in range(CLIENTS):
            home = part.home(client)
            assert home in {SERVER, client}, f"client {client}'s home is {home}; expected SERVER ({SERVER}) or {client}"
            assert part.home(client) == home, f"client {client}'s home changed: it depends on the client alone"

    @each_presence
    def test_turns_are_valid(self, part: Topology, present: list[int]) -> None:
        """Only clients that are present turn, at most once per step, and write to places that exist."""
        places = {SERVER, *range(CLIENTS)}
        for number in range(CLIENTS):
            for step, turns in enumerate(_steps(part, present, number)):
                assert all(isinstance(turn, Turn) for turn in turns), f"step {step} is {turns}; expected Turns"
                named = [one for turn in turns for one in (turn.client, *turn.writes)]
                odd = {type(one).__name__ for one in named if not isinstance(one, int)}
                assert not odd, f"step {step} has clients or places of type {', '.join(sorted(odd))}; expected int(...)"
                clients = [turn.client for turn in turns]
                assert set(clients) <= set(present), (
                    f"step {step} plans turns of {clients}, but only {present} are present: plan for those alone"
                )
                assert len(clients) == len(set(clients)), f"a client turns twice in step {step}: {clients}"
                for turn in turns:
                    assert set(turn.writes) <= places, (
                        f"client {turn.client} writes to {turn.writes}; places are {SERVER} (server) and 0..{CLIENTS - 1}"
                    )
                    assert len(set(turn.writes)) == len(turn.writes), f"{turn} names a place twice"

    @each_presence
    def test_something_is_written(self, part: Topology, present: list[int]) -> None:
        """A round with somebody present leaves something somewhere."""
        written = [turn for step in _steps(part, present) for turn in step if turn.writes]
        assert written, f"nothing is written in a round with {present} present: nobody would ever learn from others"

    @each_presence
    def test_same_context_same_plan(self, part: Topology, present: list[int]) -> None:
        """A plan follows from who is present and the context, whatever was planned before, from any instance."""
        first = _steps(part, present, number=1)
        _steps(part, [0, 1], number=2)
        for again in (part, self.make()):
            assert _steps(again, present, number=1) == first, (
                "the same context gave another plan: draw from ctx.rng(...), keep nothing in the part"
            )

    def test_nobody_present(self, part: Topology) -> None:
        """A round with nobody present has no turns."""
        turns = [turn for step in _steps(part, []) for turn in step]
        assert not turns, f"nobody is present, yet the plan has {turns}: give an empty plan"

    def test_news_reaches_everyone(self, part: Topology) -> None:
        """What one client knows has reached every other within as many rounds as there are clients."""
        if not part.connected:
            pytest.skip("this topology declares that it does not connect everyone (connected = False)")
        knows = _spread(part)
        cut_off = {
            client: sorted(set(range(CLIENTS)) - known) for client, known in knows.items() if len(known) < CLIENTS
        }
        assert not cut_off, (
            f"after {CLIENTS} rounds these clients have received nothing of: {cut_off}. Mend the plan, or declare "
            "connected = False in the topology."
        )

    def test_global_state_is_untouched(self, part: Topology) -> None:
        """No global generator is read or seeded, no setting that others share is changed."""
        with global_state_untouched(f"{self.name}.plan"):
            _steps(part, range(CLIENTS))


def _spread(part: Topology) -> dict[int, set[int]]:
    """Of whom each client has received after as many rounds as clients, when everyone passes on all they know."""
    knows = {client: {client} for client in range(CLIENTS)}
    places: dict[Place, set[int]] = {}
    for number in range(CLIENTS):
        for step in _steps(part, range(CLIENTS), number):
            for turn in step:
                knows[turn.client] |= places.get(part.home(turn.client), set())
            messages = [(place, knows[turn.client]) for turn in step for place in turn.writes]
            for place in {place for place, _ in messages}:
                places[place] = set().union(*(said for to, said in messages if to == place))
    return knows
