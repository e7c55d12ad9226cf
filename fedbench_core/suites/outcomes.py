"""What became of a suite's cells: recorded, or why not."""

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
    """Sentences about cells that have no record, by the name of the cell.

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
    """How many cells of an entry are in which state (`STATES`), in one dataset, partition and list of backbones."""

    entry: str
    dataset: str
    partition: str
    backbones: str
    cells: Mapping[str, int]


def status(suite: Suite, records: Path, out: Path) -> list[Row]:
    """The state of every cell, counted; in the order of the suite. RunError for damaged or disagreeing records."""
    filed = {record["cell"]["key"] for record in read_filed(records)}
    outcomes = Outcomes.read(out, suite.name)
    counts: dict[tuple[str, str, str, str], Counter[str]] = {}
    for cell in suite.cells():
        state = "failed" if cell.name in outcomes.failed else "skipped" if cell.name in outcomes.skipped else "missing"
        row = counts.setdefault((cell.entry, cell.dataset, cell.partition, cell.backbones), Counter())
        row["done" if cell.key in filed else state] += 1
    return [Row(*names, {state: count[state] for state in STATES}) for names, count in counts.items()]
