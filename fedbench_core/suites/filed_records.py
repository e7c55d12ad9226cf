"""Records filed under a suite: one file per grid point, so that contributions never conflict."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedbench_core.api.errors import RunError
from fedbench_core.federation.files import make_folder
from fedbench_core.records.record import comparable_pair, read_record, sealed, write_record
from fedbench_core.suites.suite import GridPoint

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


def read_filed_records(folder: Path) -> list[Record]:
    """Every record in a folder, one per grid point; empty if there is no folder.

    RunError names a file that is damaged, has another format or no grid point, or two files that disagree.
    """
    return [record for _, record in filed_by_key(folder).values()]


def filed_by_key(folder: Path) -> dict[str, tuple[Path, Record]]:
    """The path and the record of each grid point, by its key; errors as for `read_filed_records`."""
    found: dict[str, tuple[Path, Record]] = {}
    for path in sorted(folder.glob("*.json")):
        record = read_record(path)
        if not isinstance(record.get("grid_point"), dict) or "key" not in record["grid_point"]:
            raise RunError(
                f"{path} belongs to no grid point of a suite. File it with: fedbench submit {path} --suite FILE"
            )
        first_path, first = found.setdefault(record["grid_point"]["key"], (path, record))
        if first_path != path:
            check_agreement(first_path, first, path, record)
    return found


def check_agreement(first: Path, one: Mapping[str, Any], second: Path, other: Mapping[str, Any]) -> None:
    """RunError that names both records and the blocks that differ, if they are not of equal runs."""
    old, new = comparable_pair(one, other)
    if old != new:
        blocks = [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
        raise RunError(
            f"{first} and {second} are records of one grid point and disagree in {', '.join(blocks)}. "
            "Check both with `fedbench verify`, and delete the wrong one."
        )
