"""The topology `example` for fedbench."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from fedbench_core.api import Node, Phase, RoundContext, Topology, Turn, hookimpl

api_version = 2


@dataclass(frozen=True)
class Example(Topology):
    """Gossip: each client sends to itself and to a few other clients, drawn anew in each round."""

    # Fields are options: `fedbench run --topology example --set topology.others=2`.
    others: Annotated[int, Field(ge=1, description="other clients that a client sends to")] = 1

    def receives_from(self, client: int) -> Node:
        """The client's own inbox; SERVER (from fedbench_core.api) would be the server."""
        return client

    def plan(self, participating: Sequence[int], clients: int, ctx: RoundContext) -> Iterable[Phase]:
        """The phases of a round; the turns of one phase are simultaneous."""
        # Your idea goes here. Draw from ctx.rng(...) only, so that a run can be repeated.
        rng = ctx.rng("example")
        turns = []
        for client in participating:
            others = [other for other in participating if other != client]
            drawn = rng.permutation(others)[: self.others]
            turns.append(Turn(client, sends_to=(client, *map(int, drawn)), receives_from=client))
        return [Phase(turns)] if turns else []


@hookimpl
def fedbench_register_topologies() -> Mapping[str, type[Topology]]:
    """The topology, by name."""
    return {"example": Example}
