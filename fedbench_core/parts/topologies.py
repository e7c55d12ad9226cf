"""Who turns in which step of a round, and where they write. Who is present is decided before."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from fedbench_core.api import SERVER, Place, RoundContext, Topology, Turn


@dataclass(frozen=True)
class Star(Topology):
    """Everyone hears the server and writes to the server, in one step."""

    def home(self, client: int) -> Place:
        """The server."""
        return SERVER

    def plan(self, present: Sequence[int], clients: int, ctx: RoundContext) -> Iterable[Sequence[Turn]]:
        """One step with a turn of everyone present."""
        return [[Turn(client, (SERVER,)) for client in present]] if present else []


@dataclass(frozen=True)
class Ring(Topology):
    """Everyone hears what lies on the own inbox and writes to the inbox of the next client present."""

    hops: Annotated[int, Field(ge=0, description="steps per round; 0 for a full circle of those present")] = 1

    def home(self, client: int) -> Place:
        """The client's own inbox."""
        return client

    def plan(self, present: Sequence[int], clients: int, ctx: RoundContext) -> Iterable[Sequence[Turn]]:
        """`hops` equal steps; one client alone writes to its own inbox."""
        if not present:
            return []
        following = [*present[1:], present[0]]
        step = [Turn(client, (inbox,)) for client, inbox in zip(present, following, strict=True)]
        return [step] * (self.hops or len(present))


TOPOLOGIES = {"star": Star, "ring": Ring}
