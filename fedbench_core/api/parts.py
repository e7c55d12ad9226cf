"""The parts a method is made of. A part is a value that holds its options and nothing else.

What must survive a turn lives in the client (`models`, `memory`) or in the memory that is handed in. Subclass one of
these as a frozen dataclass, and register a factory for it (see `hookspecs`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from fedbench_core.api.context import Backbone, RoundContext
from fedbench_core.api.examples import Examples, Indices
from fedbench_core.api.payload import Payload

Place = int
SERVER: Place = -1
"""The place of the server. Every other place is a client's own inbox and has the client's number."""

Memory = dict[str, Tensor | int | float | str]
"""What a party keeps between turns; it rests on disk as safetensors and JSON."""


@dataclass(frozen=True)
class Labels:
    """What a partitioner may see of the training images: classes (n,), multi-label (n, L); sites (n,) if known."""

    classes: npt.NDArray[np.int64]
    sites: npt.NDArray[np.int64] | None = None
    kind: str = "multi-class"

    def __len__(self) -> int:
        return len(self.classes)


@dataclass
class Client:
    """A hospital on a turn. `models` and `memory` are kept between turns, nothing else is."""

    id: int
    backbone: str
    train: Examples
    val: Examples
    models: dict[str, Backbone] = field(default_factory=dict)
    memory: Memory = field(default_factory=dict)


@dataclass(frozen=True)
class Update:
    """What a turn ends with. `weight` is the number of training samples; `metrics` go to `clients.csv`."""

    payload: Payload | None
    weight: float
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Message:
    """A reply that has arrived, as its receiver decoded it."""

    sender: int
    payload: Payload
    weight: float


@dataclass(frozen=True)
class Turn:
    """One client's turn: it hears what lies at its home and writes to these places."""

    client: int
    writes: tuple[Place, ...]


class Partitioner(Protocol):
    """Deals the training images out to the clients."""

    by: Literal["labels", "sites"] = "labels"
    """What shares differ in. Under "labels" images of one class are alike everywhere; under "sites" they are not."""

    def split(self, labels: Labels, clients: int, rng: np.random.Generator) -> list[Indices]:
        """One array of indices per client: disjoint, complete, none empty; RequestError where that is impossible."""
        ...


class LocalUpdate(Protocol):
    """What a client does on its turn, and what it would predict with."""

    @property
    def builds(self) -> Sequence[str]:
        """Backbones it builds beside the client's own, such as a student: named here, they are known before a run."""
        return ()

    def check(self, client: Client, ctx: RoundContext) -> Sequence[str]:
        """Look at a client of each backbone before the first round; what it gives is noted in the record.

        The client is untouched and may be used up. RequestError where this update can't work with its backbone.
        """
        return ()

    def setup(self, client: Client, ctx: RoundContext) -> None:
        """Make what the client keeps, at its first turn (or before it is evaluated untrained)."""

    def train(self, client: Client, received: Payload | None, ctx: RoundContext) -> Update:
        """Train. `received` is what lies at the client's home, None if nothing has been left there yet."""
        ...

    def predictors(self, client: Client, received: Payload | None, ctx: RoundContext) -> Mapping[str, nn.Module]:
        """The models this client could deploy now, by role; the first is the headline. Changes nothing it is given.

        Two models that predict differently must differ in their class, `name` or `state_dict`: equal ones run once.
        """
        ...


NOTED = "noted"
"""Where in its meta a compressor says what a user must know of a payload."""


class Compressor(Protocol):
    """Makes payloads smaller on their way; what the receiver gets is what `decode` gives."""

    def encode(self, payload: Payload, ctx: RoundContext, memory: Memory) -> Payload:
        """The payload to send. `memory` is the sender's, for error feedback and the like.

        What a user must know of it goes into its meta entry NOTED, as a sentence; equal ones are recorded once.
        """
        ...

    def decode(self, payload: Payload) -> Payload:
        """The received payload: names, shapes, dtypes and meta of the original."""
        ...


class Accumulator(Protocol):
    """A fold over the messages that arrive at one place in one step."""

    def add(self, message: Message) -> None:
        """Take in one message; messages come in order of sender."""
        ...

    def close(self) -> Payload:
        """What now lies at the place."""
        ...


class Aggregator(Protocol):
    """Makes one payload of the messages written to a place."""

    takes: Literal["many", "one"] = "many"
    """How many messages a place may get in one step."""
    streaming: ClassVar[bool] = True
    """Whether messages are let go as they come, so that memory does not grow with the clients; a median says False."""

    def open(self, ctx: RoundContext, memory: Memory, standing: Payload | None) -> Accumulator:
        """Start a merge. `memory` is the place's; `standing` is its present payload as its readers decoded it."""
        ...


class Topology(Protocol):
    """Who turns in which step of a round, and where they write."""

    connected: ClassVar[bool] = True
    """Whether what one client says reaches every other in time; False where clients are kept apart on purpose."""

    def home(self, client: int) -> Place:
        """Where this client hears: SERVER, or its own inbox (its own number)."""
        ...

    def plan(self, present: Sequence[int], clients: int, ctx: RoundContext) -> Iterable[Sequence[Turn]]:
        """The steps of a round for the clients present (sorted); turns in one step are simultaneous."""
        ...


@dataclass(frozen=True)
class Method:
    """A federated method: four parts by name, and what holds of them. Pure data, so that every part can be swapped.

    options: {"compressor": {"energy_end": 0.98}}, they lapse when the part is swapped. downlink: the server's compressor,
    None for the same as the clients'. data: "centralized" joins all shares before clients are made. pinned: parts
    ("topology") and options ("aggregator.accumulate") without which the method would silently be another.
    """

    local_update: str
    aggregator: str = "mean"
    compressor: str = "dense"
    downlink: str | None = None
    topology: str = "star"
    options: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    data: Literal["clients", "centralized"] = "clients"
    mixed_backbones: bool = False
    partial_participation: bool = True
    pinned: tuple[str, ...] = ()
    fidelity: Literal["full", "reconstruction"] = "full"
    paper: str = ""
    summary: str = ""
