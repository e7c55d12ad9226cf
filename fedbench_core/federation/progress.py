"""How far a run is: what its journal stores, what is counted on the way, and what is reported to who watches."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, TypeAdapter, ValidationError

from fedbench_core.api import SERVER, Node
from fedbench_core.federation.calls import AggregateDone, Encoded, Forwards, TurnDone
from fedbench_core.federation.flops import add_forwards
from fedbench_core.federation.tables import Committed

Row = Mapping[str, object]


class _Point(BaseModel):
    round: int
    split: Literal["val", "test"]
    personalization: float | None


class _Selected(BaseModel):
    round: int
    validation: float
    metrics: dict[str, float | None] | None


_Round = Annotated[str, Field(pattern=r"^\d{1,9}$")]


class _Recent(BaseModel):
    curve: dict[_Round, dict[str, float | None]]
    undefined: dict[_Round, int]
    test: dict[_Round, dict[str, float | None]]


class _Model(BaseModel):
    role: str
    of: Literal["client", "received", "server"]
    clients: list[int]
    digest: str
    network: dict[str, Any]
    reason: str
    file: str | None


class _Kept(BaseModel):
    round: int
    models: list[_Model]
    reason: str


def _like(model: type[BaseModel]) -> AfterValidator:
    """Checks that a table of a journal has the values of `model`; others are not checked."""

    def check(values: dict[str, Any]) -> dict[str, Any]:
        model.model_validate(values, strict=True)
        return values

    return AfterValidator(check)


@dataclass
class Totals:
    """What a run has cost so far. Forward passes are by the key of `flops`, messages by the client's backbone."""

    bytes_up: int = 0
    bytes_down: int = 0
    bytes_peer: int = 0
    bytes_dense: int = 0
    """What was sent, uncompressed."""
    bytes_down_after: int = 0
    """Of what was downloaded, that after the last round."""
    messages: dict[str, int] = field(default_factory=dict)
    training: dict[str, int] = field(default_factory=dict)
    aggregation: dict[str, int] = field(default_factory=dict)
    prediction: dict[str, int] = field(default_factory=dict)
    """Forward passes of `predictors` in the last evaluation."""
    aggregation_seconds: float = 0.0

    @property
    def bytes_sent(self) -> int:
        """All bytes that crossed between two nodes."""
        return self.bytes_up + self.bytes_down + self.bytes_peer

    def count_message(self, sender: Node, receiver: Node, size: int, dense: int, backbone: str | None) -> None:
        """Count one message between two nodes. backbone: the client's; None for a message that is not of its model."""
        way = "bytes_down" if sender == SERVER else "bytes_up" if receiver == SERVER else "bytes_peer"
        setattr(self, way, getattr(self, way) + size)
        self.bytes_dense += dense
        if backbone is not None:
            self.messages[backbone] = self.messages.get(backbone, 0) + 1

    def count_turn(self, done: TurnDone) -> None:
        """Count the arithmetic of a turn."""
        add_forwards(self.training, done.forwards)

    def count_aggregation(self, done: AggregateDone) -> None:
        """Count the arithmetic of an aggregation."""
        add_forwards(self.aggregation, done.forwards)
        self.aggregation_seconds += done.seconds

    def count_prediction(self, forwards: Forwards) -> None:
        """Count the arithmetic of predictors."""
        add_forwards(self.prediction, forwards)


@dataclass
class Progress:
    """What the journal stores besides the state. turns: (count, last round) by client."""

    round: int = 0
    """Rounds that are done."""
    totals: Totals = field(default_factory=Totals)
    turns: dict[int, tuple[int, int]] = field(default_factory=dict)
    skipped: list[int] = field(default_factory=list)
    """Rounds in which no client took part."""
    notes: list[str] = field(default_factory=list)
    """Notes of compressors, each once."""
    curve: list[Annotated[dict[str, Any], _like(_Point)]] = field(default_factory=list)
    selected: Annotated[dict[str, Any], _like(_Selected)] | None = None
    """The round that validation chose, with its test scores."""
    selected_undefined: int = 0
    """Clients without a validation score in that round."""
    recent: Annotated[dict[str, dict[str, Any]], _like(_Recent)] = field(
        default_factory=lambda: {"curve": {}, "undefined": {}, "test": {}}
    )
    """Scores of the rounds of the present period by round: of the curve, clients without one, and test scores."""
    earlier: list[dict[str, Any]] = field(default_factory=list)
    """The test evaluations of the last period so far."""
    models: dict[str, Annotated[dict[str, Any], _like(_Kept)]] = field(default_factory=dict)
    """The models that are kept, by which round they are of (see `keeper`)."""
    downloaded: dict[int, str] = field(default_factory=dict)
    """The digest of what each client downloaded last from the server."""
    dense: dict[str, int] = field(default_factory=dict)
    """Uncompressed bytes of what the server published, by channel."""
    tables: dict[str, Committed] = field(default_factory=dict)

    def note(self, encoded: Mapping[str, Encoded]) -> None:
        """Add the notes of compressors."""
        new = [note for one in encoded.values() for note in one.notes]
        self.notes = list(dict.fromkeys([*self.notes, *new]))

    def took_turn(self, client: int, round_: int) -> None:
        """Remember that a client took a turn."""
        self.turns[client] = (self.turns.get(client, (0, 0))[0] + 1, round_)

    def to_json(self) -> dict[str, Any]:
        """As plain values for the journal, which change with the progress: a deep copy takes longer than writing."""
        return {**vars(self), "totals": vars(self.totals)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Progress":
        """From what `to_json` returned, by way of JSON; ValueError for anything else."""
        if odd := values.keys() ^ {one.name for one in fields(cls)}:
            raise ValueError(f"progress has not the same values: {', '.join(sorted(odd))}")
        try:
            return TypeAdapter(cls).validate_python(values)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise ValueError(f"progress.{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


@dataclass(frozen=True)
class Event:
    """News for who watches a run: `turns` of `expected` in round `round` are done; a new point of the curve, if any.

    folder: of the run; done: rounds that are over; curve: the last point measured so far, new or not; averaged: the
    number of rounds that it is a mean over; stage: what begins now, before the first turn; then only this and `rounds`
    are set. loss: the mean of the turns of the round so far; working: what each worker computes now, "" for one that
    waits; committed: rounds that a resumed run keeps, told after each commit, else 0.
    """

    folder: Path
    round: int
    rounds: int
    turns: int
    expected: int
    done: int
    bytes_sent: int
    point: Mapping[str, Any] | None = None
    curve: Mapping[str, Any] | None = None
    averaged: int = 1
    stage: str = ""
    loss: float | None = None
    working: tuple[str, ...] = ()
    committed: int = 0

    @property
    def rounds_done(self) -> float:
        """The rounds that are done, with the fraction of the present one; its evaluation counts as one more turn."""
        part = 0.0 if self.done > self.round else self.turns / (self.expected + 1)
        return min(max(self.done, self.round + part), self.rounds)


Watch = Callable[[Event], None]
