"""Who takes a turn in which phase of a round, and who sends to whom. Who takes part in a round is drawn before."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Annotated

from pydantic import Field

from fedbench_core.api import SERVER, Node, Phase, RoundContext, Topology, Turn


@dataclass(frozen=True)
class Star(Topology):
    """Every client receives from the server and sends to the server, in one phase."""

    def receives_from(self, client: int) -> Node:
        """The server."""
        return SERVER

    def plan(self, participating: Sequence[int], clients: int, ctx: RoundContext) -> Iterable[Phase]:
        """One phase with a turn of every participating client."""
        return [Phase([Turn(client) for client in participating])] if participating else []


@dataclass(frozen=True)
class Ring(Topology):
    """Every client receives from its own inbox and sends to the inbox of the next participating client."""

    hops: Annotated[
        int, Field(ge=0, le=1000, description="phases per round; 0 for a full circle of the participants")
    ] = 1

    def receives_from(self, client: int) -> Node:
        """The client's own inbox."""
        return client

    def plan(self, participating: Sequence[int], clients: int, ctx: RoundContext) -> Iterable[Phase]:
        """`hops` equal phases; a client that is alone sends to its own inbox."""
        if not participating:
            return []
        following = [*participating[1:], participating[0]]
        turns = [Turn(client, (node,), client) for client, node in zip(participating, following, strict=True)]
        return [Phase(turns)] * (self.hops or len(participating))

    def period(self, clients: int) -> int:
        """The rounds until what a client sent arrives at that client again."""
        return clients // gcd(clients, self.hops)


TOPOLOGIES = {"star": Star, "ring": Ring}
