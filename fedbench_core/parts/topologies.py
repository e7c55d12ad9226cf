"""Who visits in which step of a round, and where they write. Who is present is decided before."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from fedbench_core.api import HUB, Place, RoundContext, Topology, Visit


@dataclass(frozen=True)
class Star(Topology):
    """Everyone hears the hub and writes to the hub, in one step."""

    def home(self, client: int) -> Place:
        """The hub."""
        return HUB

    def plan(self, present: Sequence[int], clients: int, ctx: RoundContext) -> Iterable[Sequence[Visit]]:
        """One step with a visit of everyone present."""
        return [[Visit(client, (HUB,)) for client in present]] if present else []


@dataclass(frozen=True)
class Ring(Topology):
    """Everyone hears what lies on the own desk and writes to the desk of the next client present."""

    hops: Annotated[int, Field(ge=0, description="steps per round; 0 for a full circle of those present")] = 1

    def home(self, client: int) -> Place:
        """The client's own desk."""
        return client

    def plan(self, present: Sequence[int], clients: int, ctx: RoundContext) -> Iterable[Sequence[Visit]]:
        """`hops` equal steps; one client alone writes to its own desk."""
        if not present:
            return []
        following = [*present[1:], present[0]]
        step = [Visit(client, (desk,)) for client, desk in zip(present, following, strict=True)]
        return [step] * (self.hops or len(present))


TOPOLOGIES = {"star": Star, "ring": Ring}
