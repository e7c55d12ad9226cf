"""What the engine sends to a worker, and what comes back. Tensors are in files, or encoded as bytes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fedbench_core.api import Node
from fedbench_core.federation.files import Blob, File

Form = Mapping[str, str]
"""The dtype and shape of each tensor of a payload, by name."""
Forwards = Mapping[str, int]
"""How many inputs went through a network, by what it takes to count the FLOPs of one (see `flops`)."""
SERVER_WAY, PEER_WAY, OWN_WAY = "server", "peers", "own"
"""Where a client's update goes: each way has a blob of its own, and the first two a compressor memory of their own."""


@dataclass(frozen=True)
class Stored:
    """A stored payload; `encoded` if a compressor made it, from `bytes_dense` uncompressed bytes."""

    file: File
    encoded: bool
    bytes_dense: int = 0


@dataclass(frozen=True)
class Encoded:
    """A serialized payload, its length without compression, and what its receiver must decode."""

    blob: Blob
    bytes_dense: int
    form: Form | None = None
    notes: tuple[str, ...] = ()
    """Notes of the compressor."""


@dataclass(frozen=True)
class TurnCall:
    """One client's turn. num_images: for training; `state` is None at its first; `ways`: where its update goes."""

    client: int
    num_images: int
    round: int
    phase: int
    kind: str
    turns: int
    last_round: int | None
    state: File | None
    received: Stored | None
    ways: tuple[str, ...]
    state_path: Path
    """Where the new state is to be written."""

    @property
    def label(self) -> str:
        """How errors name this call."""
        return f"client {self.client}, round {self.round}"

    @property
    def doing(self) -> str:
        """How progress names this call."""
        return f"trains client {self.client}"

    @property
    def files(self) -> Sequence[File]:
        """The files that the worker reads."""
        return [file for file in (self.state, self.received and self.received.file) if file]


@dataclass(frozen=True)
class TurnDone:
    """The outcome of a turn. encoded: the update by way."""

    client: int
    num_examples: float
    metrics: Mapping[str, float]
    state: File | None
    encoded: Mapping[str, Encoded]
    forwards: Forwards


@dataclass(frozen=True)
class StoredMessage:
    """A message in a file, as it was sent."""

    sender: int
    stored: Stored
    num_examples: float
    form: Form | None


@dataclass(frozen=True)
class AggregateCall:
    """One node's aggregation, for an aggregator that trains."""

    node: Node
    round: int
    phase: int
    kind: str
    state: File | None
    published: Mapping[str, Stored]
    messages: tuple[StoredMessage, ...]
    state_path: Path

    @property
    def label(self) -> str:
        """How errors name this call."""
        return f"{node_name(self.node)}, round {self.round}"

    @property
    def doing(self) -> str:
        """How progress names this call."""
        return f"aggregates for {node_name(self.node)}"

    @property
    def files(self) -> Sequence[File]:
        """The files that the worker reads."""
        stored = [*self.published.values(), *(message.stored for message in self.messages)]
        return [*([self.state] if self.state else []), *(one.file for one in stored)]


@dataclass(frozen=True)
class AggregateDone:
    """The outcome of an aggregation. encoded: what the node publishes, by channel."""

    node: Node
    state: File | None
    encoded: Mapping[str, Encoded]
    forwards: Forwards = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class PredictCall:
    """Predict a split with models that are scored: those of a client, of all who received the same, or the server's.

    backbone: of the clients; clients: whose models they are; keep: where the models are to be written, with the number
    of the role added; None to write none.
    """

    of: Literal["client", "received", "server"]
    client: int
    backbone: str
    clients: tuple[int, ...]
    round: int
    split: str
    turns: int
    last_round: int | None
    state: File | None
    received: Stored | None
    published: Mapping[str, Stored] = field(default_factory=dict)
    keep: Path | None = None

    @property
    def label(self) -> str:
        """How errors name this call."""
        return f"{self._who}, round {self.round}"

    @property
    def doing(self) -> str:
        """How progress names this call."""
        return f"scores {self._who} ({self.split})"

    @property
    def _who(self) -> str:
        who = {"client": f"client {self.client}", "received": f"clients with {self.backbone}", "server": "the server"}
        return who[self.of]

    @property
    def files(self) -> Sequence[File]:
        """The files that the worker reads."""
        stored = [*([self.received] if self.received else []), *self.published.values()]
        return [*([self.state] if self.state else []), *(one.file for one in stored)]


@dataclass(frozen=True)
class Predictions:
    """What a model predicts for a whole split. digest: of the model; probabilities: (images, classes)."""

    digest: str
    probabilities: npt.NDArray[np.float32]


@dataclass(frozen=True)
class KeptModel:
    """A model in a file. network: how to build it again (see `kept`); reason: why it could not be written."""

    file: File | None = None
    size: int = 0
    network: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class PredictDone:
    """The predictions of models by role.

    kept: the models that were written, by role; empty if none were to be. made_from_received: the roles of models that
    were made from the received payload, and that the client does not have without it.
    """

    call: PredictCall
    predictions: Mapping[str, Predictions]
    forwards: Forwards = field(default_factory=dict)
    kept: Mapping[str, KeptModel] = field(default_factory=dict)
    made_from_received: frozenset[str] = frozenset()

    @property
    def encoded(self) -> Mapping[str, Encoded]:
        """Nothing is sent."""
        return {}


Call = TurnCall | AggregateCall | PredictCall
Done = TurnDone | AggregateDone | PredictDone


def node_name(node: Node) -> str:
    """`the server` or `the inbox of client 3`."""
    return "the server" if node < 0 else f"the inbox of client {node}"
