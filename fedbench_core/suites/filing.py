"""Records filed under a suite: one file per grid point, so that contributions never collide."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedbench_core.api.errors import RunError
from fedbench_core.federation.files import make_folder
from fedbench_core.records.record import comparable, read_record, sealed, write_record
from fedbench_core.suites.suite import GridPoint

Record = dict[str, Any]


def records_of(suite: Path) -> Path:
    """The folder of a suite's records: records/NAME beside the folder `suites`, or beside the file elsewhere."""
    folder = suite.resolve().parent
    home = folder.parent if folder.name == "suites" else folder
    return home / "records" / suite.stem


def file_record(record: Mapping[str, Any], grid_point: GridPoint, folder: Path, instead_of: Path | None = None) -> Path:
    """File a record under its grid point, or in place of another; gives its path. RunError if it can't be written.

    Where somebody's images lie is nobody else's business and left out.
    """
    path = instead_of or folder / f"{grid_point.name}.json"
    how = {name: value for name, value in record["how"].items() if name != "data_root"}
    contents = {name: value for name, value in record.items() if name != "digest"}
    make_folder(folder)
    write_record(path, sealed({**contents, "how": how, "grid_point": grid_point.block}))
    return path


def read_filed(folder: Path) -> list[Record]:
    """Every record in a folder, one per grid point; none if there is no folder. A grid point finds its own by `grid_point.key`.

    RunError names the file that is damaged, of another format or not filed, or both files that disagree on a grid_point.
    """
    return [record for _, record in filed_paths(folder).values()]


def filed_paths(folder: Path) -> dict[str, tuple[Path, Record]]:
    """By the key of a grid point, its record and where that lies; errors as of `read_filed`."""
    found: dict[str, tuple[Path, Record]] = {}
    for path in sorted(folder.glob("*.json")):
        record = read_record(path)
        if not isinstance(record.get("grid_point"), dict) or "key" not in record["grid_point"]:
            raise RunError(
                f"{path} belongs to no grid point of a suite. File it with: fedbench submit {path} --suite FILE"
            )
        before, first = found.setdefault(record["grid_point"]["key"], (path, record))
        if before != path:
            agree(before, first, path, record)
    return found


def agree(first: object, one: Mapping[str, Any], second: object, other: Mapping[str, Any]) -> None:
    """RunError that names both if two records of one grid point say different things."""
    mine, others = comparable(one), comparable(other)
    if mine != others:
        blocks = [name for name in sorted(mine.keys() | others.keys()) if mine.get(name) != others.get(name)]
        raise RunError(
            f"{first} and {second} are records of one grid point and disagree in {', '.join(blocks)}. "
            "Find out with `fedbench verify` which is right, and remove the other."
        )
