"""What the engine asks of a worker, and what comes back. Small values: tensors go by file or as encoded bytes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

Blob = bytes | memoryview
Form = Mapping[str, str]
"""The dtype and shape of each tensor of a payload, by name."""


@dataclass(frozen=True)
class File:
    """A file at rest and the sha256 of what is in it. `held`: not written yet, a worker has it in memory."""

    path: Path
    digest: str
    held: bool = False


@dataclass(frozen=True)
class Received:
    """What lies at a place: `encoded` if it has gone through the wire."""

    file: File
    encoded: bool


@dataclass(frozen=True)
class TurnCall:
    """One turn. `state` is None at the first."""

    client: int
    round: int
    step: int
    state: File | None
    received: Received | None
    own: bool
    """Whether something is to be left on the client's own inbox."""
    remote: bool
    """Whether something is to be sent elsewhere."""
    rests: Path
    """Where the state is to be written."""
    hold: bool = False
    """The client is trained again before the next commit: its state may stay in the worker till then."""


@dataclass(frozen=True)
class TurnDone:
    """A turn's outcome. `sent` is the encoded blob for other places, `left` the plain one for the own inbox."""

    client: int
    weight: float
    metrics: Mapping[str, float]
    state: File | None
    sent: Blob | None
    left: Blob | None
    bytes_dense: int
    form: Form | None = None
    """What is to be decoded from `sent`, where it is compressed."""
    notes: tuple[str, ...] = ()
    """What the compressor says of `sent`."""


@dataclass(frozen=True)
class ScoreCall:
    """Score the predictors that a client has after a round, on one split."""

    client: int
    share: int
    """Whose local images the own predictions are for: the client's, or everybody's in turn where data are centralized."""
    round: int
    split: str
    state: File | None
    received: Received | None


@dataclass(frozen=True)
class RoleScore:
    """One predictor on one split: whole-split scores, and probabilities on the images of one share."""

    digest: str
    scores: Mapping[str, float | None]
    recalls: npt.NDArray[np.float64]
    """(classes,), NaN where the split has no image of a class."""
    correct: npt.NDArray[np.uint8]
    """Packed bits: right or wrong per image (multi-label: per image and label)."""
    own: npt.NDArray[np.float32]
    """(images of the share, classes)."""


@dataclass(frozen=True)
class ScoreDone:
    """Scores by role; the first role is the headline."""

    client: int
    share: int
    roles: Mapping[str, RoleScore] = field(default_factory=dict)


Call = TurnCall | ScoreCall
Done = TurnDone | ScoreDone
