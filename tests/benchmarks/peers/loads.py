"""The loads, their sizes and a clock, without torch: fedbench imports it in its own time, as `fedbench run` does."""

from dataclasses import dataclass, field
from time import perf_counter

CLIENTS = 1000
PRESENT = 50  # clients per round
IMAGES = 50  # per client
BATCH = 10
STEPS = PRESENT * IMAGES // BATCH  # per round, over all clients
SGD = {"lr": 0.01, "momentum": 0.9}


@dataclass(frozen=True)
class Load:
    """A network by the channels of its convolutions and the width of its hidden layer, and the rounds of a run."""

    name: str
    channels: tuple[int, int]
    hidden: int
    rounds: int


LOADS = {load.name: load for load in (Load("A", (32, 64), 368, rounds=8), Load("B", (4, 8), 26, rounds=30))}


@dataclass
class Clock:
    """The moments at which rounds ended."""

    marks: list[float] = field(default_factory=list)

    def tick(self) -> None:
        """A round has ended."""
        self.marks.append(perf_counter())

    def seconds(self) -> float:
        """The mean seconds of a round, without the first, in which models are built."""
        return (self.marks[-1] - self.marks[0]) / (len(self.marks) - 1)
