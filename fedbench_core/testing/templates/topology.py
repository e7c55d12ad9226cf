"""The topology `example` for fedbench."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from fedbench_core.api import Place, RoundContext, Topology, Turn, hookimpl

api_version = 1


@dataclass(frozen=True)
class Example(Topology):
    """Everyone writes to the own inbox and to the inboxes of a few others, drawn anew in each round."""

    # Fields are options: `fedbench run --topology example --set topology.others=2`.
    others: Annotated[int, Field(ge=1, description="inboxes of others that a client writes to")] = 1

    def home(self, client: int) -> Place:
        """The own inbox; SERVER (from fedbench_core.api) would be the server's."""
        return client

    def plan(self, present: Sequence[int], clients: int, ctx: RoundContext) -> Iterable[Sequence[Turn]]:
        """The steps of a round; the turns of one step are simultaneous."""
        # Your idea goes here. Draw from ctx.rng(...) alone, so that a run can be repeated.
        rng = ctx.rng("example")
        step = []
        for client in present:
            rest = [other for other in present if other != client]
            drawn = rng.permutation(rest)[: self.others]
            step.append(Turn(client, (client, *map(int, drawn))))
        return [step] if step else []


@hookimpl
def fedbench_register_topologies() -> Mapping[str, type[Topology]]:
    """The topology by its name."""
    return {"example": Example}
