"""What became of a suite's grid points: recorded, or why not."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from fedbench_core.federation.files import make_folder, replace_file
from fedbench_core.suites.filing import read_filed
from fedbench_core.suites.suite import Suite

STATES = ("done", "missing", "failed", "skipped")


@dataclass
class Outcomes:
    """Sentences about grid points that have no record, by the name of the grid_point.

    failed: the run began, and ended without a record. skipped: it can't be.
    """

    failed: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def write(self, out: Path, suite: str) -> None:
        """Leave them beside the runs, for `fedbench suite status`."""
        make_folder(out)
        replace_file(_path(out, suite), json.dumps(asdict(self), indent=1, sort_keys=True).encode())

    @classmethod
    def read(cls, out: Path, suite: str) -> "Outcomes":
        """Those of the last `fedbench suite run` into `out`; none if there was none, or it can't be read."""
        try:
            return cls(**json.loads(_path(out, suite).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return cls()


def _path(out: Path, suite: str) -> Path:
    return out / f"{suite}.outcomes.json"


@dataclass(frozen=True)
class Row:
    """How many grid points of an entry are in which state (`STATES`), in one dataset, partition and list of backbones."""

    entry: str
    dataset: str
    partition: str
    backbones: str
    grid_points: Mapping[str, int]


def status(suite: Suite, records: Path, out: Path) -> list[Row]:
    """The state of every grid point, counted; in the order of the suite. RunError for damaged or disagreeing records."""
    filed = {record["grid_point"]["key"] for record in read_filed(records)}
    outcomes = Outcomes.read(out, suite.name)
    counts: dict[tuple[str, str, str, str], Counter[str]] = {}
    for grid_point in suite.grid_points():
        state = (
            "failed"
            if grid_point.name in outcomes.failed
            else "skipped"
            if grid_point.name in outcomes.skipped
            else "missing"
        )
        row = counts.setdefault(
            (grid_point.entry, grid_point.dataset, grid_point.partition, grid_point.backbones), Counter()
        )
        row["done" if grid_point.key in filed else state] += 1
    return [Row(*names, {state: count[state] for state in STATES}) for names, count in counts.items()]
