"""Verification: a record is computed again from its spec and compared."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fedbench_core.api import RequestError, stream
from fedbench_core.federation.progress import Watch
from fedbench_core.federation.spec import RunSpec
from fedbench_core.records.differences import Difference, differences
from fedbench_core.records.record import RecordError, comparable_pair, read_record
from fedbench_core.runner import How, Say, run
from fedbench_core.suites.filed_records import read_folder
from fedbench_core.suites.files import read_suite
from fedbench_core.suites.held import changes
from fedbench_core.suites.resolved_specs import expected_spec


@dataclass(frozen=True)
class Verdict:
    """Differences between a record and a new run of its spec: versions of distributions, and all other values.

    record: the record; now: the versions of the new run.
    """

    record: Mapping[str, Any]
    now: Mapping[str, str]
    versions: list[Difference]
    values: list[Difference]

    @property
    def agrees(self) -> bool:
        """Whether all values are equal to the bit; versions may differ."""
        return not self.values


def verify(path: Path, how: How, watch: Watch, say: Say) -> Verdict:
    """Run the spec of a record (a file or a run folder) again in a temporary folder, and compare the records.

    RecordError if it isn't a complete record, or has other settings than its grid point; RunError if the run fails;
    RequestError if it can't run here, such as for a missing plugin.
    """
    record = read_record(path)
    _check_grid_point(path, record)
    with TemporaryDirectory(prefix="fedbench-verify-") as scratch:
        again = run(RunSpec.of(record["spec"]), replace(how, out=Path(scratch), keep="none"), watch, say).record
    before, now = comparable_pair(record, again)
    versions = differences(before.pop("versions"), made := now.pop("versions"))
    return Verdict(record, made, list(versions), list(differences(before, now)))


def sample(folder: Path, size: int, seed: int) -> list[Path]:
    """The files of `size` records in a folder, drawn at random; all if there are no more. RequestError if none."""
    filed = read_folder(folder)
    if not filed.by_key:
        raise RequestError(f"{folder} holds no records that can be verified.")
    keys = sorted(filed.by_key)
    drawn = stream(seed, "verify").permutation(len(keys))[:size]
    return [filed.by_key[keys[at]][0] for at in drawn]


def _check_grid_point(path: Path, record: Mapping[str, Any]) -> None:
    """RecordError for a filed record with other settings than its suite, which is looked for beside the records."""
    if record.get("grid_point") is None:
        return
    folder = path.resolve().parent
    root, name = folder.parent.parent, f"{folder.name}.toml"
    for file in (root / "suites" / name, root / name):
        if file.exists():
            points = [one for one in read_suite(file).grid_points() if one.key == record["grid_point"]["key"]]
            changed = changes(record, points[0], expected_spec(points[0])) if points else []
            if changed:
                raise RecordError(path, f"was run with {'; '.join(changed)}")
