"""The blocks of a record: the type and the range of each value."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

LIBRARIES = ("torch", "timm", "numpy", "torchmetrics")
"""Libraries whose versions every record holds, beside those of Python and of the packages of its parts."""
_LARGEST = 2**53
"""Up to here JSON readers keep whole numbers exactly."""
Count = Annotated[int, Field(ge=0, le=_LARGEST)]
Share = Annotated[float, Field(ge=0, le=1 + 1e-6)]
"""Recalls are computed in single precision."""
Amount = Annotated[float, Field(ge=0, le=1e18)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_SHOWN = 40


class _Block(BaseModel):
    """Values that are not named may be anything that JSON can hold."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class _Method(_Block):
    fidelity: str
    paper: str
    summary: str


class _Splits(_Block):
    train: Count
    val: Count
    test: Count


class _Public(_Block):
    name: str
    digest: str
    images: Count


class _Data(_Block):
    name: str
    digest: str
    official: bool
    task: Literal["multi-class", "binary", "ordinal", "multi-label"]
    classes: Annotated[list[str], Field(min_length=1)]
    image_shape: list[Count]
    images: _Splits
    public: _Public | None


class _Shares(_Block):
    train: list[Count]
    val: list[Count]
    test: list[Count]


class _TestImages(_Block):
    test: list[Count]


class _HeldOut(_Block):
    images: _TestImages
    counts: list[list[Count]]
    sites: list[str] | None = None


class _Population(_Block):
    clients: Annotated[Count, Field(ge=1)]
    trained: Annotated[Count, Field(ge=1)]
    backbones: list[str]
    images: _Shares
    counts: list[list[Count]]
    sites: list[str] | None = None
    held_out: _HeldOut | None = None


class _Metrics(_Block):
    """Scores; those that are not named are numbers, too."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, float | None]

    personalization: Share | None
    generalization: Share | None
    unseen: Share | None = None
    worst_client: Share | None
    worst_decile: Share | None = None
    global_accuracy: Share | None = None
    balanced_accuracy: Share | None = None
    rarest_recall: Share | None = None
    auc: Share | None = None
    f1: Share | None = None
    ece: Share | None = None
    brier: Annotated[float, Field(ge=0, le=2 + 1e-6)] | None = None
    mae: Amount | None = None
    n: Count


class _Point(_Metrics):
    __pydantic_extra__: dict[str, float | None]

    round: Count
    split: Literal["val", "test"]


class _Matrix(_Block):
    primary: Literal["label", "local"]
    predictor_of_client: list[Count | None]
    label: list[list[Share | None]]
    local: list[list[Share | None]]


class _Summary(_Block):
    metrics: _Metrics
    undefined: dict[str, Count]
    rarest_class: str
    matrix: _Matrix
    correct: list[str]
    predicted: list[str] | None = None


class _Groups(_Block):
    of: Literal["class", "client"]
    kinds: Annotated[Count, Field(ge=1)]
    images: str


class _Evaluation(_Summary):
    round: Count
    role: str
    roles: dict[str, _Summary]
    auc_images: str | None = None


class _Test(_Evaluation):
    groups: _Groups
    labels: str | None = None
    earlier: list[_Evaluation] = []
    unseen_role: str | None = None


class _Selected(_Block):
    round: Count
    validation: Share
    metrics: _Metrics


class _Backbone(_Block):
    parameters: Count
    bytes: Count


class _Costs(_Block):
    bytes_up: Count
    bytes_down: Count
    bytes_peer: Count
    bytes_down_after: Count = 0
    bytes_dense: Count
    bytes_whole_models: Count
    training_gflops: Amount | None
    aggregation_gflops: Amount | None
    prediction_gflops: Amount | None
    backbones: dict[str, _Backbone]


class _How(_Block):
    seconds: Amount
    data_root: str | None = None


class _GridPoint(_Block):
    suite: str
    entry: str
    dataset: str
    partition: str
    backbones: str
    seed: Count
    key: Digest


class _Record(_Block):
    format: int
    spec: dict[str, Any]
    spec_digest: Digest
    method: _Method
    data: _Data
    population: _Population
    test: _Test
    selected: _Selected | None
    curve: list[_Point]
    rounds_skipped: list[Count]
    notes: list[str]
    costs: _Costs
    versions: dict[str, str]
    how: _How
    digest: Digest
    grid_point: _GridPoint | None = None


def schema_fault(record: Mapping[str, Any]) -> str:
    """The first value that is missing, of another type or out of range, as a sentence; "" if there is none."""
    try:
        _Record.model_validate(record)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(map(str, first["loc"]))
        if first["type"] == "missing":
            return f"{name} is missing"
        return f"{name} is {short(first['input'])}: {first['msg'][0].lower()}{first['msg'][1:]}"
    return ""


def short(value: object) -> str:
    """The beginning of a value."""
    if isinstance(value, int) and abs(value) > 10**_SHOWN:  # converting thousands of digits is slow, or refused
        return f"a number of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
