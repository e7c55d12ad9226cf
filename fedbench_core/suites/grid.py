"""Grid points: the runs of a suite, each with its settings."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fedbench_core.federation.spec import RunSpec

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


def merged(defaults: Settings, overrides: Settings) -> dict[str, Any]:
    """`defaults` with `overrides`. Part options are merged one by one; a budget (epochs, steps) replaces the other."""
    if "epochs" in overrides or "steps" in overrides:
        defaults = {name: value for name, value in defaults.items() if name not in ("epochs", "steps")}
    options = {**defaults.get("set", {}), **overrides.get("set", {})}
    return {**defaults, **overrides, **({"set": options} if options else {})}


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")
