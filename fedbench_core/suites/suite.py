"""Suite files: the entries, datasets, partitions, backbones and seeds to compare, and the resulting grid points.

Expanding a suite into grid points needs no plugin, so records can be read where the plugins are not installed.
"""

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from fedbench_core.api.errors import RequestError, unknown
from fedbench_core.api.limits import parse_toml, read_text
from fedbench_core.api.search import LogUniform, OneOf
from fedbench_core.federation.spec import MOST_SEED, RunSpec, plain
from fedbench_core.suites.choices import Choice, choices_file, nested, read_choices
from fedbench_core.suites.ranking import default_metric

METRICS = (
    *("personalization", "generalization", "worst_client", "worst_decile", "global_accuracy", "balanced_accuracy"),
    *("auc", "f1", "rarest_recall", "ece", "brier", "mae"),
)
"""Metrics that a suite can rank by: keys of test.metrics in a record."""
LESS_IS_BETTER = frozenset({"ece", "brier", "mae"})
"""Those of them that are errors."""
MOST_SEEDS = 10_000
MOST_TRIALS = 1_000
MOST_GRID_POINTS = 1_000_000
"""A million grid points take minutes and gigabytes to list."""
_LONGEST_NAME = 200
"""File systems have names of 255 bytes, and a file has a longer name while it is written."""
_SHOWN = 40
AXES = ("dataset", "backbones", "seed")
"""Settings that the suite's lists provide; an entry may set its own backbones."""

Name = Annotated[str, Field(min_length=1)]
Seed = Annotated[int, Field(ge=0, le=MOST_SEED)]
Settings = Mapping[str, Any]


@dataclass(frozen=True)
class GridPoint:
    """A run of a suite. settings: unresolved, for `RunSpec.of`; tuned: whether they are those that tuning chose."""

    suite: str
    entry: str
    dataset: str
    partition: str
    backbones: str
    seed: int
    settings: Settings
    tuned: bool = False

    @cached_property
    def key(self) -> str:
        """sha256 of the settings in canonical JSON, independent of names and of the position in the suite."""
        text = json.dumps(self.settings, sort_keys=True, separators=(",", ":"), default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def name(self) -> str:
        """The file name of its record, without the suffix."""
        names = (self.entry, self.dataset, self.partition)
        return f"{'-'.join(map(_slug, names))}-s{self.seed}-{self.key[:8]}"

    @property
    def block(self) -> dict[str, Any]:
        """The block `grid_point` of its record."""
        names = ("suite", "entry", "dataset", "partition", "backbones", "seed", "key")
        return {name: getattr(self, name) for name in names}

    @property
    def spec(self) -> RunSpec:
        """The spec of the run; RequestError for a setting that is unknown or out of range."""
        # Also with a partitioner by sites, the number of clients is that of the file: it is known without the images.
        return RunSpec.of({"clients": RunSpec.model_fields["clients"].default, **self.settings})


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Variant(_Strict):
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


class Baselines(_Strict):
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


class Tuning(_Strict):
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


class Suite(_Strict):
    """A comparison of entries x datasets x partitions x backbones x seeds, and the question that it answers."""

    name: Name = Field(description="the name of the file, without `.toml`")
    question: Name = Field(description="what the suite is to find out, in one sentence")
    smoke_test: bool = Field(
        default=False,
        description="whether the suite only shows that methods run: its page says so, and the index lists it apart",
    )
    metric: Name | None = Field(
        default=None,
        description=f"the score that ranks the entries: {', '.join(METRICS)}; if not given auc where a dataset has two "
        "classes, several labels per image, or more than half of its training images in one class, and else "
        "personalization",
    )
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = Field(
        default=tuple(range(12)), description="how many seeds, or a list of seeds; every run is repeated with each"
    )
    datasets: Annotated[tuple[Name, ...], Field(min_length=1)] = Field(
        description="datasets as for `fedbench run --dataset`"
    )
    backbones: Annotated[tuple[Name, ...], Field(min_length=1)] = Field(
        description='backbones as for `fedbench run --backbones`; `"a,b"` alternates two among the clients'
    )
    settings: Settings = Field(default_factory=dict, description="settings of all runs, see below")
    partitions: Annotated[tuple[Partition, ...], Field(min_length=1)] = Field(
        default=(Partition.model_validate({}),),
        description="how training images are split among the clients; by default as the settings have it",
    )
    entries: Annotated[tuple[Entry, ...], Field(min_length=1)] = Field(description="the rows of the leaderboard")
    baselines: Baselines = Field(default=Baselines(), description="which entries are baselines")
    planned: tuple[tuple[Name, Name], ...] = Field(
        default=(),
        description="pairs of entries that the suite was made to compare; they are a family of tests of their own; if "
        "none are given, each entry and its control",
    )
    tuning: Tuning | None = Field(default=None, description="how entries are tuned, see below; not at all if not given")
    _file: Path = PrivateAttr(Path())
    _choices: Mapping[tuple[str, str, str, str], Choice] = PrivateAttr(default_factory=dict)

    @property
    def file(self) -> str:
        """The file as messages and pages name it, `leaderboards/suites/NAME.toml` in a folder `suites`.

        It is "" for a suite that was not read from a file.
        """
        if self._file == Path():
            return ""
        folder = self._file.parent
        return (
            f"{folder.resolve().parent.name}/suites/{self._file.name}" if folder.name == "suites" else str(self._file)
        )

    def ranked_by(self, records: Iterable[Mapping[str, Any]]) -> str:
        """The score that ranks the entries. records: of the suite, which know the classes of the datasets."""
        return self.metric or default_metric(records)

    @property
    def planned_pairs(self) -> frozenset[frozenset[str]]:
        """The planned comparisons as sets of two entries."""
        return frozenset(map(frozenset, self.planned))

    @field_validator("seeds", mode="before")
    @classmethod
    def _count(cls, seeds: Any) -> Any:
        if not isinstance(seeds, int) or isinstance(seeds, bool):
            return seeds
        if seeds > MOST_SEEDS:
            raise PydanticCustomError("seeds", "expected at most {most} seeds", {"most": MOST_SEEDS})
        return tuple(range(seeds))

    @field_validator("settings", mode="before")
    @classmethod
    def _plain(cls, settings: Any) -> Any:
        return plain(settings) if isinstance(settings, dict) else settings

    def grid_points(self, seeds: Sequence[int] = ()) -> list[GridPoint]:
        """All grid points, or those of some seeds: seed by seed, so that an interrupted suite has complete seeds.

        Where an entry was tuned, the default settings come first, and then those that were chosen.
        """
        defaults = self.default_points(seeds or self.seeds)
        return [point for default in defaults for point in (default, *self._tuned(default))]

    @property
    def size(self) -> int:
        """The number of grid points with default settings."""
        return math.prod(map(len, (self.seeds, self.datasets, self.partitions, self.backbones, self.entries)))

    def _tuned(self, default: GridPoint) -> Iterator[GridPoint]:
        if (choice := self.choice(default)) is not None:
            yield replace(default, settings=merged(default.settings, nested(choice.best.settings)), tuned=True)

    def choice(self, point: GridPoint) -> Choice | None:
        """What tuning chose for a grid point; None if it has not been tuned as the suite is now."""
        found = self._choices.get((point.entry, point.dataset, point.partition, point.backbones))
        return found if found is not None and found.of == self.tuning_digest(point) else None

    def tuning_digest(self, point: GridPoint) -> str:
        """A digest of all that the tuning of a grid point depends on in this file, the same for all seeds."""
        settings = {name: value for name, value in point.settings.items() if name != "seed"}
        tuning = None if self.tuning is None else self.tuning.model_dump(mode="json")
        text = json.dumps([self.name, self.metric, settings, tuning], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    def default_points(self, seeds: Sequence[int]) -> Iterator[GridPoint]:
        """The grid points with default settings for these seeds."""
        grid = product(seeds, self.datasets, self.partitions, self.backbones, self.entries)
        for seed, dataset, partition, backbones, entry in grid:
            own = _names(entry.settings.get("backbones", backbones))
            axes = {"dataset": dataset, "backbones": own, "seed": seed}
            settings = {**merged(merged(self.settings, partition.settings), entry.settings), **axes}
            yield GridPoint(self.name, entry.name, dataset, partition.name, ",".join(_names(backbones)), seed, settings)


def merged(defaults: Settings, overrides: Settings) -> dict[str, Any]:
    """`defaults` with `overrides`. Part options are merged one by one; a budget (epochs, steps) replaces the other."""
    if "epochs" in overrides or "steps" in overrides:
        defaults = {name: value for name, value in defaults.items() if name not in ("epochs", "steps")}
    options = {**defaults.get("set", {}), **overrides.get("set", {})}
    return {**defaults, **overrides, **({"set": options} if options else {})}


def suite_file(folder: Path, name: str) -> Path:
    """The TOML file of a suite, given by its name or path."""
    return Path(name) if name.endswith(".toml") else folder / "suites" / f"{name}.toml"


def read_suite(path: Path) -> Suite:
    """The suite in a TOML file; RequestError names the file and describes what is wrong with it."""
    try:
        values = parse_toml(read_text(path))
        suite = Suite(**values)
        suite._file = path  # noqa: SLF001  # pydantic has no other way for what is no key of the file
        suite._choices = read_choices(choices_file(path)).by_case if suite.tuning else {}  # noqa: SLF001  # as above
        _check(suite, path)
    except FileNotFoundError:
        others = ", ".join(str(other) for other in sorted(path.parent.glob("*.toml"))) or "none"
        raise RequestError(f"There is no suite {path}. Suites in that folder: {others}.") from None
    except ValidationError as error:
        raise RequestError(f"{path}: {'; '.join(_problem_text(problem) for problem in error.errors())}.") from None
    except (OSError, ValueError, RequestError) as error:
        raise RequestError(f"{path}: {error}") from None
    return suite


def _check(suite: Suite, path: Path) -> None:
    if suite.name != path.stem:
        raise RequestError(f"its name is {suite.name!r}; expected {path.stem!r}, the name of the file.")
    for kind in ("seeds", "datasets", "backbones"):
        _check_distinct(kind, getattr(suite, kind), "Remove one")
    if suite.metric not in (None, *METRICS):
        raise unknown("metric", str(suite.metric), METRICS)
    for kind in ("entries", "partitions"):
        _check_distinct(kind, [row.name for row in getattr(suite, kind)], 'Set a different name = "..." for one')
    known = [entry.name for entry in suite.entries]
    named = [("[baselines]", name) for name in suite.baselines.names]
    for where, name in [*named, *(("planned", name) for pair in suite.planned for name in pair)]:
        if name not in known:
            raise unknown(f"entry (of {where})", name, known)
    if suite.tuning is not None:
        _check_tuning_seeds(suite, suite.tuning)
    _check_planned(suite)
    if suite.size > MOST_GRID_POINTS:
        raise RequestError(
            f"it has {suite.size} grid points; expected at most {MOST_GRID_POINTS}. Split it into several suites."
        )
    for grid_point in suite.grid_points(
        [max(suite.seeds)]
    ):  # with the longest names; other seeds differ in nothing else
        _check_grid_point(grid_point)


def _check_planned(suite: Suite) -> None:
    _check_distinct("planned", [tuple(sorted(pair)) for pair in suite.planned], "Remove one")
    for first, second in suite.planned:
        if first == second:
            raise RequestError(f"planned: {first!r} is compared with itself. Name two entries.")


def _check_tuning_seeds(suite: Suite, tuning: Tuning) -> None:
    _check_distinct("tuning.seeds", tuning.seeds, "Remove one")
    if both := sorted(set(tuning.seeds) & set(suite.seeds)):
        raise RequestError(
            f"tuning.seeds: {both[0]} is also a seed of the suite. Tune with other seeds, such as "
            f"{max(suite.seeds) + 1}: scores of seeds that chose the settings would be too good."
        )


def _check_grid_point(grid_point: GridPoint) -> None:
    if (length := len(grid_point.name)) > _LONGEST_NAME:
        raise RequestError(
            f"entry {grid_point.entry[:_SHOWN]!r}, partition {grid_point.partition[:_SHOWN]!r}: the file of a record "
            f"would have a name of {length} characters; expected at most {_LONGEST_NAME}. Use shorter names."
        )
    try:
        _ = grid_point.spec
    except RequestError as error:
        raise RequestError(f"entry {grid_point.entry!r}, partition {grid_point.partition!r}: {error}") from None


def _check_distinct(kind: str, values: Sequence[object], advice: str) -> None:
    repeated = [value for value, count in Counter(values).items() if count > 1]
    if repeated:
        raise RequestError(f"{kind}: {repeated[0]!r} appears twice. {advice}.")


def _problem_text(problem: Any) -> str:
    """Such as `entries.2.name: field required`, with the value if it is short."""
    location = ".".join(map(str, problem["loc"]))
    value = problem["input"]
    shown = f" got {value!r};" if isinstance(value, str | int | float) else ""
    return f"{location}:{shown} {problem['msg'][0].lower()}{problem['msg'][1:]}"


def _names(backbones: Any) -> list[str]:
    return [name.strip() for name in backbones.split(",")] if isinstance(backbones, str) else list(backbones)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")
