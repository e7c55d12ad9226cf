"""A run's record taken into a suite: checked, matched to its cell by its resolved spec, and filed."""

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
from fedbench_core.suites.suite import Cell, Suite


@dataclass(frozen=True)
class Submitted:
    """Where a record is filed for a cell, and whether it had been there before."""

    cell: Cell
    path: Path
    before: bool


def submit(run: Path, suite: Suite, folder: Path) -> list[Submitted]:
    """File the record of a run (its folder or record.json) under every cell of `suite` that asks for it.

    RequestError says in what it differs from the nearest cell if none does; RunError if it isn't the whole record of a
    finished run, or disagrees with a record of the same cell, which is named.
    """
    record = read_record(run)
    _refuse_unfinished(record, run)
    filed = filed_paths(folder)
    cells = _cells_of(record, run, suite)
    for cell in cells:
        if cell.key in filed:
            path, other = filed[cell.key]
            agree(path, other, run, record)
    return [
        Submitted(cell, filed[cell.key][0], before=True)
        if cell.key in filed
        else Submitted(cell, file_record(record, cell, folder), before=False)
        for cell in {cell.key: cell for cell in cells}.values()
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


def _cells_of(record: Record, run: Path, suite: Suite) -> list[Cell]:
    """The cells whose resolved spec is the record's."""
    cells = [cell for cell in suite.cells() if cell.settings["method"] == record["spec"]["method"]]
    if not cells:
        raise RequestError(
            f"{run} is of method {record['spec']['method']}, of which suite {suite.name} has no entry. "
            "Add it to the suite's [[entries]], or give another --suite."
        )
    differences = {cell.name: _differences(record["spec"], cell) for cell in cells}
    found = [cell for cell in cells if not differences[cell.name]]
    if not found:
        nearest = min(differences.values(), key=len)
        raise RequestError(
            f"{run} is no cell of suite {suite.name}. From the nearest it differs in {'; '.join(nearest)}. "
            f"Run what the suite asks for: fedbench suite run"
        )
    return found


def _differences(spec: Mapping[str, Any], cell: Cell) -> list[str]:
    """What a spec says otherwise than a cell, once both are resolved."""
    asked = resolve(cell.spec).spec.model_dump(mode="json")
    return [f"{one.path} {one.before} (the suite: {one.now})" for one in differences(spec, asked)]
