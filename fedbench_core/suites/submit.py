"""Submitting a record to a suite: it is checked, matched to grid points by its resolved spec, and filed."""

from dataclasses import dataclass
from pathlib import Path

from fedbench_core.api.errors import RequestError, RunError
from fedbench_core.federation.resolved import resolve
from fedbench_core.federation.spec import RunSpec
from fedbench_core.records.differences import differences
from fedbench_core.records.record import read_record
from fedbench_core.suites.filed_records import Record, check_agreement, file_record, filed_by_key
from fedbench_core.suites.suite import GridPoint, Suite


@dataclass(frozen=True)
class Submitted:
    """A grid point, the path of its record, and whether the same record was already filed."""

    grid_point: GridPoint
    path: Path
    already_filed: bool


def submit(run: Path, suite: Suite, folder: Path) -> list[Submitted]:
    """File the record of a run (its folder or record.json) under every grid point of `suite` with the same spec.

    RequestError names the differences from the nearest grid point if none has this spec; RunError if it isn't the
    complete record of a finished run, or disagrees with a filed record of the same grid point.
    """
    record = read_record(run)
    _check_finished(record, run)
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


def _check_finished(record: Record, run: Path) -> None:
    """RunError for a record that no run writes, such as one that was edited and sealed again."""
    try:
        spec = RunSpec.of(record["spec"])
        finished = record["test"]["round"] == spec.rounds - 1 and spec.digest == record["spec_digest"]
        finished = finished and {"fedbench-core", "torch"} <= record["versions"].keys()
        finished = finished and isinstance(record["how"], dict)
    except (KeyError, TypeError, AttributeError, RequestError):
        finished = False
    if not finished:
        raise RunError(f"{run} is not the record of a finished run: its spec, last round, or versions are missing.")


def _grid_points(record: Record, run: Path, suite: Suite) -> list[GridPoint]:
    """The grid points with the resolved spec of the record."""
    method = record["spec"]["method"]
    candidates = [grid_point for grid_point in suite.grid_points() if grid_point.settings["method"] == method]
    if not candidates:
        raise RequestError(
            f"{run} is a run of method {method}, and suite {suite.name} has no entry with that method. "
            "Add it to the suite's [[entries]], or use another --suite."
        )
    changes = [_changes(record, grid_point) for grid_point in candidates]
    found = [grid_point for grid_point, changed in zip(candidates, changes, strict=True) if not changed]
    if not found:
        nearest = min(changes, key=len)
        raise RequestError(
            f"{run} is no grid point of suite {suite.name}. Differences from the nearest: {'; '.join(nearest)}. "
            "Run the grid points of the suite with: fedbench suite run"
        )
    return found


def _changes(record: Record, grid_point: GridPoint) -> list[str]:
    """How the spec of a record differs from the resolved spec of a grid point."""
    expected = resolve(grid_point.spec).spec.model_dump(mode="json")
    return [f"{one.path} {one.before} (the suite: {one.now})" for one in differences(record["spec"], expected)]
