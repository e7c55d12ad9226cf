"""A run's record taken into a suite: checked, matched to its grid point by its resolved spec, and filed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedbench_core.api.errors import RequestError, RunError
from fedbench_core.federation.resolved import resolve
from fedbench_core.federation.spec import RunSpec
from fedbench_core.records.differences import differences
from fedbench_core.records.record import read_record
from fedbench_core.suites.filing import Record, agree, file_record, filed_paths
from fedbench_core.suites.suite import GridPoint, Suite


@dataclass(frozen=True)
class Submitted:
    """Where a record is filed for a grid point, and whether it had been there before."""

    grid_point: GridPoint
    path: Path
    before: bool


def submit(run: Path, suite: Suite, folder: Path) -> list[Submitted]:
    """File the record of a run (its folder or record.json) under every grid point of `suite` that asks for it.

    RequestError says in what it differs from the nearest grid point if none does; RunError if it isn't the whole record of a
    finished run, or disagrees with a record of the same grid point, which is named.
    """
    record = read_record(run)
    _refuse_unfinished(record, run)
    filed = filed_paths(folder)
    grid_points = _grid_points_of(record, run, suite)
    for grid_point in grid_points:
        if grid_point.key in filed:
            path, other = filed[grid_point.key]
            agree(path, other, run, record)
    return [
        Submitted(grid_point, filed[grid_point.key][0], before=True)
        if grid_point.key in filed
        else Submitted(grid_point, file_record(record, grid_point, folder), before=False)
        for grid_point in {grid_point.key: grid_point for grid_point in grid_points}.values()
    ]


def _refuse_unfinished(record: Record, run: Path) -> None:
    """What no run writes, but a hand may have."""
    try:
        spec = RunSpec.of(record["spec"])
        whole = record["test"]["round"] == spec.rounds - 1 and spec.digest == record["spec_digest"]
        whole = whole and {"fedbench-core", "torch"} <= record["versions"].keys() and isinstance(record["how"], dict)
    except (KeyError, TypeError, AttributeError, RequestError):
        whole = False
    if not whole:
        raise RunError(f"{run} is not the record of a finished run: its spec, last round, or versions are missing.")


def _grid_points_of(record: Record, run: Path, suite: Suite) -> list[GridPoint]:
    """The grid points whose resolved spec is the record's."""
    grid_points = [
        grid_point for grid_point in suite.grid_points() if grid_point.settings["method"] == record["spec"]["method"]
    ]
    if not grid_points:
        raise RequestError(
            f"{run} is of method {record['spec']['method']}, of which suite {suite.name} has no entry. "
            "Add it to the suite's [[entries]], or give another --suite."
        )
    differences = {grid_point.name: _differences(record["spec"], grid_point) for grid_point in grid_points}
    found = [grid_point for grid_point in grid_points if not differences[grid_point.name]]
    if not found:
        nearest = min(differences.values(), key=len)
        raise RequestError(
            f"{run} is no grid point of suite {suite.name}. From the nearest it differs in {'; '.join(nearest)}. "
            f"Run what the suite asks for: fedbench suite run"
        )
    return found


def _differences(spec: Mapping[str, Any], grid_point: GridPoint) -> list[str]:
    """What a spec says otherwise than a grid point, once both are resolved."""
    asked = resolve(grid_point.spec).spec.model_dump(mode="json")
    return [f"{one.path} {one.before} (the suite: {one.now})" for one in differences(spec, asked)]
