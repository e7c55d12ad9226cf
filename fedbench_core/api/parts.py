"""The parts that make up a method. A part is a value: it holds its options and nothing else.

What must survive a turn lives in the `models`, `modules` and `memory` of a client or of an aggregator's state. Subclass
one of these protocols as a frozen dataclass and register a factory for it (see `hookspecs`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from fedbench_core.api.backbones import Backbone
from fedbench_core.api.context import SERVER, Node, RoundContext
from fedbench_core.api.examples import Examples, Indices
from fedbench_core.api.payload import Payload

Memory = dict[str, Tensor | int | float | str]
"""Values that a node keeps between turns, stored as safetensors and JSON."""
ModuleFactory = Callable[..., nn.Module]
"""Makes a module from sizes: `lambda inputs, outputs: nn.Linear(inputs, outputs)`."""


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
    """A client in its turn. Only `models`, `modules` and `memory` are kept between turns.

    turns: how many it has taken before this one; last_round: when it took the last one.
    """

    id: int
    backbone: str
    train: Examples
    val: Examples
    models: dict[str, Backbone] = field(default_factory=dict)
    modules: dict[str, nn.Module] = field(default_factory=dict)
    memory: Memory = field(default_factory=dict)
    turns: int = 0
    last_round: int | None = None


@dataclass
class AggregatorState:
    """What a node keeps between aggregations: `models`, `modules`, `memory`, and what it last published per channel.

    `published` is loaded when it is read, as the readers decode it. Change it by the result of an aggregation only.
    """

    id: Node
    models: dict[str, Backbone] = field(default_factory=dict)
    modules: dict[str, nn.Module] = field(default_factory=dict)
    memory: Memory = field(default_factory=dict)
    published: Mapping[str, Payload] = field(default_factory=dict)


@dataclass(frozen=True)
class Update:
    """The result of a turn: what the client sends (None for nothing), and `metrics` for `clients.csv`."""

    payload: Payload | None
    num_examples: float
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Message:
    """An update that has arrived, as its receiver decoded it."""

    sender: int
    payload: Payload
    num_examples: float


@dataclass(frozen=True)
class Turn:
    """One client's work in one phase: it receives from a node (None: nothing), trains, and sends to nodes."""

    client: int
    sends_to: tuple[Node, ...] = (SERVER,)
    receives_from: Node | None = SERVER


@dataclass(frozen=True)
class Phase:
    """Turns that are simultaneous. kind: what the phase is for, such as "digest"; parts read it as `ctx.kind`."""

    turns: Sequence[Turn]
    kind: str = ""


class Partitioner(Protocol):
    """Splits the training images among the clients."""

    by: Literal["labels", "sites"] = "labels"
    """How clients differ: "labels" in class proportions only, "sites" also in how images of one class look."""

    def split(self, labels: Labels, clients: int, rng: np.random.Generator) -> list[Indices]:
        """One array of indices per client: disjoint, complete, none empty; RequestError where that is impossible."""
        ...


class LocalUpdate(Protocol):
    """What a client does in its turn, and the models that it would deploy."""

    modules: ClassVar[Mapping[str, ModuleFactory]] = {}
    """Further networks that `ctx.build_module` can build, such as a projection head, by name."""
    personalizes: ClassVar[bool] = False
    """Whether `predictors` looks at the client's images. In centralized training it is then called for each client."""

    @property
    def backbones(self) -> Sequence[str]:
        """Further backbones that `ctx.build` can build, such as a student."""
        return ()

    def check(self, client: Client, ctx: RoundContext) -> Sequence[str]:
        """Notes for the record on a client of each backbone, before the first round.

        The client is a copy without models. RequestError if this update can't work with its backbone or these settings.
        """
        return ()

    def setup(self, client: Client, ctx: RoundContext) -> None:
        """Create what the client keeps, before its first turn; `ctx` is that of round 0."""

    def train(self, client: Client, received: Payload | None, ctx: RoundContext) -> Update:
        """Train. `received` is what the source of this turn published, None if there is nothing yet."""
        ...

    def predictors(self, client: Client, received: Payload | None, ctx: RoundContext) -> Mapping[str, nn.Module]:
        """The client's own models, by role; the first is the headline score. Changes nothing it is given.

        Not called for clients that never took part, if `setup` is overridden: they have no model of their own yet.
        A client downloads what was published after its last turn, and that counts, if the headline model is made from
        it: if this reads the tensors of `received` and the model is none of the client's `models` and `modules`.
        Models that predict differently must differ in class, `name` or `state_dict`: equal ones are scored once.
        A run keeps models that can be built again: what `ctx.build` and `ctx.build_module` made, a Sequential of these,
        and an object of a class that `modules` names, if its constructor takes its networks, tensors and numbers by
        their attribute names.
        """
        return {}

    def global_predictors(self, received: Payload | None, backbone: str, ctx: RoundContext) -> Mapping[str, nn.Module]:
        """The models that clients with this backbone have in common, by role; scored once for all of them."""
        return {}


NOTED = "noted"
"""The meta entry in which a compressor leaves a note for the record."""


class Compressor(Protocol):
    """Makes payloads smaller; the receiver works on what `decode` returns."""

    def encode(self, payload: Payload, ctx: RoundContext, memory: Memory) -> Payload:
        """The payload to send. `memory` is the sender's, for error feedback and the like.

        A note for the user goes into the meta entry NOTED; equal notes are recorded once.
        """
        ...

    def decode(self, payload: Payload) -> Payload:
        """The received payload: names, shapes, dtypes and meta of the original."""
        ...


class Accumulator(Protocol):
    """One aggregation: takes the messages that a node received in one phase, one by one."""

    def add(self, message: Message) -> None:
        """Add one message; messages come in order of sender."""
        ...

    def result(self) -> Payload | Mapping[str, Payload]:
        """What the node publishes: a payload for channel "", or payloads by channel.

        A channel that is not in the result keeps its payload.
        """
        ...


class Aggregator(Protocol):
    """Turns the messages that a node receives into what it publishes."""

    takes: Literal["many", "one"] = "many"
    """How many messages a node may receive in one phase."""
    streaming: ClassVar[bool] = True
    """Whether memory stays flat as messages arrive; an aggregator that keeps all of them declares False."""
    trains: ClassVar[bool] = False
    """Whether it builds or trains networks. It then runs in a worker, with `ctx.build` and the run's device."""
    modules: ClassVar[Mapping[str, ModuleFactory]] = {}
    """Networks that `ctx.build_module` can build, by name."""

    def check(self, ctx: RoundContext) -> Sequence[str]:
        """Notes for the record, before the first round; RequestError if it can't work with these settings."""
        return ()

    def setup(self, state: AggregatorState, ctx: RoundContext) -> None:
        """Create what the node keeps, before its first aggregation; `ctx` is that of the first aggregation."""

    def channel(self, state: AggregatorState, client: int, ctx: RoundContext) -> str:
        """The channel that a client reads. Of the state only `id`, `memory` and `published` are there."""
        return ""

    def start(self, state: AggregatorState, ctx: RoundContext) -> Accumulator:
        """Start an aggregation."""
        ...

    def predictors(self, state: AggregatorState, ctx: RoundContext) -> Mapping[str, nn.Module]:
        """Models of the server that never travel, by role; scored on all clients. Only if `trains`."""
        return {}


class Topology(Protocol):
    """Who takes a turn in which phase of a round, where they receive from and where they send to."""

    connected: ClassVar[bool] = True
    """Whether information of every client reaches every other; False where clients are kept apart on purpose."""
    reaches_absent: ClassVar[bool] = False
    """Whether messages may go to clients that don't take part in the round."""

    def receives_from(self, client: int) -> Node:
        """The node whose payload a client's models follow from when they are scored: SERVER, or the client itself."""
        ...

    def plan(self, participating: Sequence[int], clients: int, ctx: RoundContext) -> Iterable[Phase]:
        """The phases of a round for the participating clients (sorted)."""
        ...

    def period(self, clients: int) -> int:
        """The number of rounds after which the schedule repeats, if all clients take part.

        Scores are means over the last so many rounds: where models go round, they depend on the round.
        """
        return 1


@dataclass(frozen=True)
class Control:
    """What a method is without the idea that it claims: another method, or options that switch the idea off.

    options: of the control's parts, {"local_update.share": False}. Everything else is as in the run to compare with.
    """

    method: str
    options: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        """In words: `local`, or `example with local_update.share = false`."""
        options = ", ".join(f"{name} = {str(value).lower()}" for name, value in self.options.items())
        return f"{self.method} with {options}" if options else self.method


@dataclass(frozen=True)
class Method:
    """A federated method: parts by name, and its properties. Pure data, so that every part can be replaced.

    options: {"compressor": {"energy_end": 0.98}}; they lapse when the part is replaced. downlink: the server's
    compressor, None for that of the clients. data: "centralized" trains one client on all images. pinned: parts
    ("topology") and options ("aggregator.accumulate") that can't be replaced, because the result would be another
    method. requires: run settings that it needs, such as {"momentum": 0.0}. uses_public: needs public images.
    learns: False for a baseline that trains nothing. baseline: the row of a leaderboard that runs of the method are.
    control: the row that every ranked table with the method needs beside it.
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
    requires: Mapping[str, object] = field(default_factory=dict)
    uses_public: bool = False
    learns: bool = True
    baseline: Literal["", "majority", "steps", "centralized", "tuned"] = ""
    control: Control | None = None
    fidelity: Literal["full", "reconstruction"] = "full"
    paper: str = ""
    summary: str = ""
