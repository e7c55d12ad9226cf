"""The tables of a suite file: partitions, entries, baselines and tuning."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from fedbench_core.api.search import LogUniform, OneOf
from fedbench_core.federation.spec import MOST_SEED, plain
from fedbench_core.suites.grid import Settings

MOST_TRIALS = 1_000
AXES = ("dataset", "backbones", "seed")
"""Settings that the suite's lists provide; an entry may set its own backbones."""

Name = Annotated[str, Field(min_length=1)]
Seed = Annotated[int, Field(ge=0, le=MOST_SEED)]


class Strict(BaseModel):
    """A table whose keys are all known."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class _Variant(Strict):
    """Settings with a name."""

    name: Name
    settings: Settings

    @model_validator(mode="before")
    @classmethod
    def _part(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        settings = plain({key: value for key, value in values.items() if key != "name"})
        axes = [axis for axis in AXES if axis in settings and axis not in cls.own_axes()]
        if axes:
            raise PydanticCustomError("axis", f"{axes[0]} is an axis of the suite; set it in the suite's list")
        if "public" in settings:
            raise PydanticCustomError("public", "public images are the same for all entries; set public in [settings]")
        if {"trials", "tuning"} & settings.keys():
            raise PydanticCustomError("trials", "all entries get the same number of trials; set trials in [tuning]")
        return {"name": values.get("name", cls.default_name(settings)), "settings": settings}

    @classmethod
    def default_name(cls, settings: Settings) -> str:
        """The name if the file doesn't give one."""
        raise NotImplementedError

    @classmethod
    def own_axes(cls) -> tuple[str, ...]:
        """Axes that these settings may include."""
        return ()


class Partition(_Variant):
    """A partitioner with its options, and its name in leaderboards."""

    @classmethod
    def default_name(cls, settings: Settings) -> str:
        """The partitioner and its options: `dirichlet, alpha 0.3`."""
        options = [f"{key.partition('.')[2]} {value}" for key, value in settings.get("set", {}).items()]
        return ", ".join([str(settings.get("partitioner", "as set")), *options])


class Entry(_Variant):
    """A row of a leaderboard: a method, with settings that override those of the suite and partition.

    With `backbones` it uses these instead of each of the suite's lists, as for a baseline that needs equal networks.
    """

    @field_validator("settings")
    @classmethod
    def _check_hold_out(cls, settings: Settings) -> Settings:
        if own := sorted(name for name in settings if name.startswith("hold_out")):
            raise PydanticCustomError(
                "hold_out", f"the same clients are held out for all entries; set {own[0]} in [settings] or a partition"
            )
        return settings

    @classmethod
    def own_axes(cls) -> tuple[str, ...]:
        """The backbones."""
        return ("backbones",)

    @classmethod
    def default_name(cls, settings: Settings) -> str:
        """The method's name."""
        if "method" not in settings:
            raise PydanticCustomError("method", 'an entry needs a method: method = "..."')
        return str(settings["method"])


class Baselines(Strict):
    """The names of the entries that serve as baselines. A table without the compulsory ones is not ranked."""

    majority: Name | None = Field(default=None, description="each client's most frequent class; compulsory")
    steps: Name | None = Field(default=None, description="local training with equal steps; compulsory")
    flops: Name | None = Field(
        default=None, description="local training with the FLOPs of the costliest entry; compulsory"
    )
    centralized: Name | None = Field(default=None, description="training on the images of all clients; compulsory")
    tuned: Name | None = Field(
        default=None,
        description="a global model that every client fine-tunes; compulsory if an entry has personal models",
    )
    controls: dict[Name, Name] = Field(
        default_factory=dict,
        description="for an entry whose method declares a control (see `fedbench show`), the entry without the idea "
        "that the method claims: compulsory, and found by itself if all other settings are the same; for another entry "
        "with two models per client, the entry with the same models and no communication",
    )

    @property
    def names(self) -> list[str]:
        """All names of entries."""
        single = (self.majority, self.steps, self.flops, self.centralized, self.tuned)
        return [name for name in single if name] + [*self.controls, *self.controls.values()]


class Tuning(Strict):
    """Equal tuning: every entry gets the same number of trials, and the best one on validation images is chosen."""

    trials: Annotated[int, Field(ge=1, le=MOST_TRIALS)] = Field(
        description="trials of every entry, for each dataset, partition and list of backbones; the first is the default"
    )
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = Field(
        description="a list of seeds with which every trial is run; none of the seeds of the suite"
    )
    ranges: dict[Name, LogUniform | OneOf] = Field(
        default_factory=dict,
        description="other values to try than those that `fedbench show` names, as `{low = 0.001, high = 0.1}` or "
        "`{values = [1, 2]}`, by the name of the setting: `lr`, `local_update.mu`",
    )
