"""Status of a suite: how many grid points are recorded, and why others are not."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from fedbench_core.api.errors import DataError
from fedbench_core.api.limits import parse_json, read_text
from fedbench_core.federation.files import make_folder, replace_file
from fedbench_core.suites.filed_records import read_filed_records
from fedbench_core.suites.grid import GridPoint
from fedbench_core.suites.suite import Suite

STATES = ("done", "missing", "failed", "skipped")


@dataclass
class Unrecorded:
    """Why grid points have no record, by name.

    failed: the run started and ended without a record. skipped: the run is invalid.
    """

    failed: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def write(self, out: Path, suite: str) -> None:
        """Write them beside the run folders, for `fedbench suite status`."""
        make_folder(out)
        replace_file(_path(out, suite), json.dumps(asdict(self), indent=1, sort_keys=True).encode())

    @classmethod
    def read(cls, out: Path, suite: str) -> "Unrecorded":
        """Those of the last `fedbench suite run` into `out`; empty if there was none or the file can't be read."""
        try:
            return TypeAdapter(cls).validate_python(parse_json(read_text(_path(out, suite))))
        except (OSError, ValueError, DataError):
            return cls()

    def state(self, grid_point: GridPoint) -> str:
        """The state of a grid point that has no record."""
        if grid_point.name in self.failed:
            return "failed"
        return "skipped" if grid_point.name in self.skipped else "missing"


def _path(out: Path, suite: str) -> Path:
    return out / f"{suite}.unrecorded.json"


@dataclass(frozen=True)
class StatusRow:
    """The number of grid points in each state (`STATES`), for an entry, dataset, partition and list of backbones.

    The runs with tuned settings are those of an entry `NAME, tuned`.
    """

    entry: str
    dataset: str
    partition: str
    backbones: str
    counts: Mapping[str, int]


def status(suite: Suite, records: Path, out: Path) -> list[StatusRow]:
    """The number of grid points in each state, in the order of the suite; RunError for invalid records."""
    filed = {record["grid_point"]["key"] for record in read_filed_records(records)}
    unrecorded = Unrecorded.read(out, suite.name)
    counts: dict[tuple[str, str, str, str], Counter[str]] = {}
    for point in suite.grid_points():
        entry = f"{point.entry}, tuned" if point.tuned else point.entry
        row = counts.setdefault((entry, point.dataset, point.partition, point.backbones), Counter())
        row["done" if point.key in filed else unrecorded.state(point)] += 1
    return [StatusRow(*names, {state: count[state] for state in STATES}) for names, count in counts.items()]
