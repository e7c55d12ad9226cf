"""Suites: the entries, datasets, partitions, backbones and seeds to compare, and the resulting grid points.

Expanding a suite into grid points needs no plugin, so records can be read where the plugins are not installed.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PrivateAttr, field_validator
from pydantic_core import PydanticCustomError

from fedbench_core.federation.spec import plain
from fedbench_core.statistics import PLANNED
from fedbench_core.suites.choices import Choice, nested
from fedbench_core.suites.grid import GridPoint, Settings, merged
from fedbench_core.suites.ranking import default_metric
from fedbench_core.suites.tables import Baselines, Entry, Name, Partition, Seed, Strict, Tuning

METRICS = (
    *("personalization", "generalization", "worst_client", "worst_decile", "global_accuracy", "balanced_accuracy"),
    *("auc", "f1", "rarest_recall", "ece", "brier", "mae"),
)
"""Metrics that a suite can rank by: keys of test.metrics in a record."""
LESS_IS_BETTER = frozenset({"ece", "brier", "mae"})
"""Those of them that are errors."""
MOST_SEEDS = 10_000


class Suite(Strict):
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
        description="pairs of entries that the suite was made to compare; they share "
        f"{PLANNED * 100:g} % of the level of the tests; if none are given, each entry and its control",
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
        if not self._choices:
            return list(defaults)
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


def _names(backbones: Any) -> list[str]:
    return [name.strip() for name in backbones.split(",")] if isinstance(backbones, str) else list(backbones)
