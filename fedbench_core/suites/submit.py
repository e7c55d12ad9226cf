"""Submitting a record to a suite: it is checked, matched to grid points by its resolved spec, and filed."""

from dataclasses import dataclass
from pathlib import Path

from fedbench_core.api.errors import RequestError
from fedbench_core.federation.assembly import assemble
from fedbench_core.records.record import read_record
from fedbench_core.suites.filed_records import Record, check_agreement, file_record, filed_by_key
from fedbench_core.suites.grid import GridPoint
from fedbench_core.suites.held import changes
from fedbench_core.suites.resolved_specs import expected_spec
from fedbench_core.suites.suite import Suite


@dataclass(frozen=True)
class Submitted:
    """A grid point, the path of its record, and whether the same record was already filed."""

    grid_point: GridPoint
    path: Path
    already_filed: bool


def submit(run: Path, suite: Suite, folder: Path) -> list[Submitted]:
    """File the record of a run (its folder or record.json) under every grid point of `suite` with the same spec.

    RequestError names the differences from the nearest grid point if none has this spec; RecordError if it isn't the
    complete record of a finished run, or disagrees with a filed record of the same grid point.
    """
    record = read_record(run)
    filed = filed_by_key(folder)
    grid_points = {grid_point.key: grid_point for grid_point in _grid_points(record, run, suite)}
    for key in grid_points:
        if key in filed:
            check_agreement(*filed[key], run, record)
    return [
        Submitted(grid_point, filed[key][0], already_filed=True)
        if key in filed
        else Submitted(grid_point, file_record(record, grid_point, folder), already_filed=False)
        for key, grid_point in grid_points.items()
    ]


def _grid_points(record: Record, run: Path, suite: Suite) -> list[GridPoint]:
    """The grid points with the resolved spec of the record."""
    method = record["spec"]["method"]
    candidates = [grid_point for grid_point in suite.grid_points() if grid_point.settings["method"] == method]
    if not candidates:
        raise RequestError(
            f"{run} is a run of method {method}, and suite {suite.name} has no entry with that method. "
            "Add it to the suite's [[entries]], or use another --suite."
        )
    expected = [expected_spec(grid_point) for grid_point in candidates]
    for grid_point, spec in zip(candidates, expected, strict=True):
        if spec is None:
            assemble(grid_point.spec)  # raises what is missing
    differing = [changes(record, *pair) for pair in zip(candidates, expected, strict=True)]
    found = [grid_point for grid_point, changed in zip(candidates, differing, strict=True) if not changed]
    if not found:
        nearest = min(differing, key=len)
        raise RequestError(
            f"{run} is no grid point of suite {suite.name}. Differences from the nearest: {'; '.join(nearest)}. "
            "Run the grid points of the suite with: fedbench suite run"
        )
    return found
