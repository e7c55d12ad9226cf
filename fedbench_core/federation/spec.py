"""The settings of a run: all that its numbers depend on, and nothing else."""

import hashlib
import json
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from fedbench_core.api.errors import RequestError, unknown
from fedbench_core.api.limits import parse_json, parse_toml, read_text
from fedbench_core.api.search import LogUniform
from fedbench_core.api.training import Augmentation, ClassWeights, Optimizer, Precision, Schedule, Training

MANY: Final = 10**9
"""More than any count that a run could finish with; larger numbers overflow."""
MOST_CLIENTS: Final = 100_000
MOST_SEED: Final = 2**63 - 1
Positive = Annotated[int, Field(ge=1, le=MANY)]
Name = Annotated[str, Field(min_length=1)]
STEPS: Final = 30
"""Local steps in each turn, where no budget is given: every client takes as long, whatever it holds."""
RATES: dict[Optimizer, float] = {"sgd": 0.02, "adam": 0.002, "adamw": 0.002}
"""Learning rates by optimizer, where none is given."""


class RunSpec(BaseModel):
    """The settings of one run: equal specs and equal versions give equal records.

    `set` holds options of parts as {"part.option": value}, for instance {"partitioner.alpha": 0.1}. Parts that are None
    are the method's own. The local budget is `steps` or `epochs`; without either it is 30 steps.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    method: Annotated[Name, Field(description="method to run: see `fedbench list methods`")]
    backbones: Annotated[
        tuple[Name, ...], Field(min_length=1, description="one or more, comma-separated; clients take them in turn")
    ] = ("resnet18",)
    dataset: Annotated[Name, Field(description="a name of `fedbench list datasets`, npz:PATH or folder:PATH")] = (
        "phantom"
    )
    image_size: Annotated[Positive | None, Field(description="pixels per side; the dataset's default if not given")] = (
        None
    )
    clients: Annotated[
        int, Field(ge=1, le=MOST_CLIENTS, description="hospitals in the federation; by sites, one per site")
    ] = 2
    rounds: Annotated[int, Field(ge=1, le=MANY, description="communication rounds")] = 4
    epochs: Annotated[Positive | None, Field(description="local epochs per turn, in place of steps")] = None
    steps: Annotated[Positive | None, Field(description=f"local steps per turn; {STEPS} if not given")] = None
    batch_size: Annotated[int, Field(ge=1, le=MANY, description="images per local batch")] = 16
    lr: Annotated[
        Annotated[float, Field(gt=0)] | None,
        Field(description="local learning rate; if not given 0.02 for sgd, 0.002 for others"),
        LogUniform(1e-4, 0.1),
    ] = None
    optimizer: Annotated[Optimizer, Field(description="local optimizer, new in each turn")] = "adam"
    momentum: Annotated[float, Field(ge=0, lt=1, description="momentum of sgd")] = 0.9
    weight_decay: Annotated[float, Field(ge=0, description="weight decay of the local optimizer")] = 0.0
    schedule: Annotated[
        Schedule, Field(description="learning rate over the rounds; step: x0.1 at half and at three quarters")
    ] = "cosine"
    warmup: Annotated[int, Field(ge=0, le=MANY, description="rounds in which the learning rate rises linearly")] = 0
    augmentation: Annotated[
        Augmentation, Field(description="random changes of training images; medical: flips, small moves, light")
    ] = "none"
    precision: Annotated[Precision, Field(description="of training; bf16: autocast, slow without a unit for it")] = (
        "fp32"
    )
    clip: Annotated[Annotated[float, Field(gt=0)] | None, Field(description="largest norm of the gradient")] = None
    class_weights: Annotated[
        ClassWeights, Field(description="balanced: classes of a client count equally in its loss")
    ] = "none"
    label_smoothing: Annotated[float, Field(ge=0, lt=1, description="part of the target shared by all classes")] = 0.0
    normalization: Annotated[
        Literal["half", "dataset", "backbone"] | None,
        Field(
            description="mean and deviation of inputs: 0.5, of the data, of timm's weights [default if --pretrained]"
        ),
    ] = None
    partitioner: Annotated[Name, Field(description="how training images are split among the clients")] = "dirichlet"
    aggregator: Annotated[Name | None, Field(description="aggregator, in place of the method's own")] = None
    compressor: Annotated[
        Name | None, Field(description="compressor, in place of the method's own, in both directions")
    ] = None
    downlink: Annotated[Name | None, Field(description="compressor from the server to the clients, if another")] = None
    topology: Annotated[Name | None, Field(description="topology, in place of the method's own")] = None
    fraction: Annotated[
        float, Field(gt=0, le=1, description="fraction of the clients that is sampled in each round")
    ] = 1.0
    dropout: Annotated[float, Field(ge=0, lt=1, description="probability that a sampled client drops out")] = 0.0
    hold_out_clients: Annotated[
        int, Field(ge=0, le=MOST_CLIENTS, description="clients, drawn by the seed, that are tested but not trained")
    ] = 0
    hold_out_sites: Annotated[
        int, Field(ge=0, le=MOST_CLIENTS, description="the same by sites: sites that are tested but not trained")
    ] = 0
    limit: Annotated[Positive | None, Field(description="use a stratified subset of this many training images")] = None
    public: Annotated[
        Name | None,
        Field(description="public images without labels: a fraction of the training images, such as 0.1, or a dataset"),
    ] = None
    seed: Annotated[int, Field(ge=0, le=MOST_SEED, description="seed of all random draws")] = 0
    pretrained: Annotated[bool, Field(description="start from pretrained weights")] = False
    evaluate_on: Annotated[Literal["val", "test"], Field(description="split of the learning curve")] = "val"
    evaluate_every: Annotated[
        int, Field(ge=0, le=MANY, description="rounds between points of the learning curve; 0 for none")
    ] = 1
    threads: Annotated[
        int, Field(ge=1, le=1024, description="torch threads per process; another number changes the bits")
    ] = 1
    device: Annotated[str, Field(pattern=r"^(cpu|cuda(:\d+)?)$", description="cpu, cuda or cuda:N")] = "cpu"
    allow_unofficial: Annotated[bool, Field(description="accept a file that differs from the published one")] = False
    set: Annotated[dict[str, Any], Field(description="an option of a part: see `fedbench show PART`")] = Field(
        default_factory=dict
    )

    @model_validator(mode="before")
    @classmethod
    def _split_lists(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        backbones = values.get("backbones")
        if isinstance(backbones, str):
            values = {**values, "backbones": tuple(name.strip() for name in backbones.split(","))}
        return values

    @model_validator(mode="before")
    @classmethod
    def _settle_budget(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        if values.get("epochs") is None:
            return values if values.get("steps") is not None else {**values, "steps": STEPS}
        if values.get("steps") is not None:
            raise PydanticCustomError("budget", "give --epochs or --steps, not both: one would be ignored")
        return values

    @model_validator(mode="before")
    @classmethod
    def _settle_normalization(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("normalization") is not None:
            return values
        return {**values, "normalization": "backbone" if values.get("pretrained") is True else "half"}

    @model_validator(mode="after")
    def _check_warmup(self) -> "RunSpec":
        if self.warmup >= self.rounds:
            text = f"--warmup {self.warmup}: expected fewer than --rounds {self.rounds}"
            raise PydanticCustomError("warmup", "{text}", {"text": text})
        return self

    @model_validator(mode="after")
    def _check_hold_out(self) -> "RunSpec":
        if self.hold_out_clients and self.hold_out_sites:
            raise PydanticCustomError("hold_out", "give --hold-out-clients or --hold-out-sites, not both")
        return self

    @field_validator("public", mode="before")
    @classmethod
    def _as_text(cls, public: Any) -> Any:
        return str(public) if isinstance(public, int | float) and not isinstance(public, bool) else public

    @field_validator("public")
    @classmethod
    def _check_fraction(cls, public: str | None) -> str | None:
        fraction = _number(public)
        if fraction is not None and not 0 < fraction < 1:
            raise PydanticCustomError("fraction", "expected a fraction between 0 and 1 (both excluded), or a dataset")
        return public if fraction is None else str(fraction)

    @property
    def public_fraction(self) -> float | None:
        """The fraction of the training images that is public; None if there is none, or another dataset."""
        return _number(self.public)

    @property
    def held_out(self) -> int:
        """The number of clients that are tested and not trained."""
        return self.hold_out_clients + self.hold_out_sites

    @property
    def rate(self) -> float:
        """The learning rate, or the default one of the optimizer."""
        return self.lr or RATES[self.optimizer]

    @property
    def training(self) -> Training:
        """The local recipe."""
        values = {field.name: getattr(self, field.name) for field in fields(Training)} | {"lr": self.rate}
        return Training(**{**values, "epochs": self.epochs or 1})

    @property
    def digest(self) -> str:
        """sha256 of the spec in canonical JSON."""
        return digest_of(self.model_dump(mode="json"))

    @classmethod
    def of(cls, values: dict[str, Any]) -> "RunSpec":
        """A spec from plain values; RequestError names the setting, its value and what is accepted."""
        misses = sorted(set(values) - set(cls.model_fields))
        if misses:
            raise unknown("setting", misses[0], cls.model_fields)
        try:
            return cls(**values)
        except ValidationError as error:
            raise RequestError("; ".join(_sentence(problem) for problem in error.errors())) from None


EARLIER: dict[str, Any] = {
    "schedule": "constant",
    "warmup": 0,
    "augmentation": "none",
    "precision": "fp32",
    "clip": None,
    "class_weights": "none",
    "label_smoothing": 0.0,
    "normalization": "half",
    "hold_out_clients": 0,
    "hold_out_sites": 0,
}
"""Settings that earlier versions did not have, with the values that they worked by."""


def completed(spec: dict[str, Any]) -> dict[str, Any]:
    """The recorded settings of a run, with those that its version did not have."""
    return {**EARLIER, **spec}


def digest_of(spec: dict[str, Any]) -> str:
    """sha256 of complete settings in canonical JSON."""
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _sentence(problem: Any) -> str:
    if not problem["loc"]:
        return str(problem["msg"])
    setting = str(problem["loc"][0]).replace("_", "-")
    if problem["type"] == "missing":
        return f"--{setting} is missing"
    return f"--{setting}: got {problem['input']!r}; {problem['msg'][0].lower()}{problem['msg'][1:]}"


def read_config(path: Path) -> dict[str, Any]:
    """The settings in a `run.toml`, or in a record (its block `spec`), as plain values.

    Raises RequestError for a file that can't be read, or that holds no table of settings.
    """
    try:
        text = read_text(path)
        values = parse_json(text) if path.suffix == ".json" else parse_toml(text)
    except (OSError, ValueError) as error:
        raise RequestError(f"--config {path}: {error}. Give a TOML file of settings, or a record.json.") from None
    if isinstance(values, dict) and isinstance(values.get("spec"), dict):
        values = completed(values["spec"])
    if not isinstance(values, dict):
        raise RequestError(f"--config {path}: expected a table of settings, got {type(values).__name__}.")
    return plain(values)


def plain(values: dict[str, Any]) -> dict[str, Any]:
    """Settings as a TOML file writes them, made those of a spec: `batch-size` is `batch_size`, options are flat."""
    return {key.replace("-", "_"): value for key, value in values.items()} | _options(values.get("set", {}))


def _options(table: Any) -> dict[str, Any]:
    """`[set.partitioner] alpha = 1` in TOML means the same as `"partitioner.alpha" = 1` under `[set]`."""
    if not isinstance(table, dict):
        raise RequestError(f"set: expected a table of options, got {table!r}. Write [set] and part.option = value.")
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= {f"{key}.{name}": inner for name, inner in value.items()} if isinstance(value, dict) else {key: value}
    return {"set": flat} if flat else {}
