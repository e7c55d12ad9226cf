"""Records filed under a suite: one file per grid point, so that contributions never conflict."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedbench_core.api.errors import RunError
from fedbench_core.federation.files import make_folder
from fedbench_core.records.passed import remembered
from fedbench_core.records.record import RecordError, comparable_pair, read_records, sealed, write_record
from fedbench_core.suites.grid import GridPoint
from fedbench_core.suites.verifications import FOLDER, verified_by

Record = dict[str, Any]


def records_folder(suite: Path) -> Path:
    """The folder of a suite's records: records/NAME beside the folder `suites`, or beside the suite file elsewhere."""
    folder = suite.resolve().parent
    parent = folder.parent if folder.name == "suites" else folder
    return parent / "records" / suite.stem


def file_record(record: Mapping[str, Any], grid_point: GridPoint, folder: Path, replaced: Path | None = None) -> Path:
    """Write a record into `folder`, or over the file `replaced`; returns its path. RunError if it can't be written.

    The data folder of the machine is private and left out.
    """
    path = replaced or folder / f"{grid_point.name}.json"
    how = {name: value for name, value in record["how"].items() if name != "data_root"}
    contents = {name: value for name, value in record.items() if name != "digest"}
    make_folder(folder)
    write_record(path, sealed({**contents, "how": how, "grid_point": grid_point.block}))
    return path


@dataclass(frozen=True)
class Filed:
    """The path and the record of each grid point, by its key, and the files that are refused.

    verified: who repeated a run with equal results, by the key of the grid point.
    """

    by_key: Mapping[str, tuple[Path, Record]]
    refused: list[RecordError]
    verified: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def read_folder(folder: Path) -> Filed:
    """Every record in a folder; empty if there is no folder. One bad file is refused, and the others are read."""
    found: dict[str, tuple[Path, Record]] = {}
    refused: list[RecordError] = []
    disagreeing = set()
    paths = sorted(folder.glob("*.json"), key=lambda path: path.name)
    with remembered() as passed:
        for path, read in zip(paths, read_records(paths, passed), strict=True):
            try:
                record = _filed(path, read)
                key = record["grid_point"]["key"]
                check_agreement(*found.setdefault(key, (path, record)), path, record)
            except DisagreementError as error:
                disagreeing.add(key)
                refused.append(error)
            except RecordError as error:
                refused.append(error)
    by_key = {key: value for key, value in found.items() if key not in disagreeing}
    return Filed(by_key, refused, _verified(folder, by_key, refused))


def _verified(
    folder: Path, by_key: Mapping[str, tuple[Path, Record]], refused: list[RecordError]
) -> dict[str, tuple[str, ...]]:
    """Who verified the records; adds bad files to those that are refused."""
    found = {}
    signed = {path.name for path in (folder / FOLDER).glob("*.json")}
    for key, (path, record) in by_key.items():
        if path.name in signed:
            try:
                found[key] = verified_by(path, record)
            except RecordError as error:
                refused.append(error)
    return {key: names for key, names in found.items() if names}


def read_filed_records(folder: Path) -> list[Record]:
    """Every record in a folder, one per grid point; RecordError for the first bad file."""
    return [record for _, record in filed_by_key(folder).values()]


def filed_by_key(folder: Path) -> Mapping[str, tuple[Path, Record]]:
    """The path and the record of each grid point, by its key; RecordError for the first bad file."""
    filed = read_folder(folder)
    if filed.refused:
        raise filed.refused[0]
    return filed.by_key


def _filed(path: Path, record: Record | RunError) -> Record:
    if isinstance(record, RunError):
        raise record
    if record.get("grid_point") is None:
        advice = f"File it with: fedbench submit {path} --suite FILE"
        raise RecordError(path, "belongs to no grid point of a suite", advice)
    return record


def differing_blocks(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """The names of the blocks in which two records differ that runs of one spec have in common; "" if in none."""
    old, new = comparable_pair(one, other)
    return ", ".join(name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name))


class DisagreementError(RecordError):
    """Two records of one grid point that differ."""


def check_agreement(first: Path, one: Mapping[str, Any], second: Path, other: Mapping[str, Any]) -> None:
    """DisagreementError names both records and the blocks that differ, if they are not of equal runs."""
    if blocks := differing_blocks(one, other):
        raise DisagreementError(
            second,
            f"and {first.name} are records of one grid point and disagree in {blocks}",
            f"Check both with `fedbench verify`, and delete the wrong one. The other is {first}",
        )
