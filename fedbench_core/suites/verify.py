"""Verification: a record is computed again from its spec and compared."""

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from fedbench_core.federation.progress import Watch
from fedbench_core.federation.spec import RunSpec
from fedbench_core.records.differences import Difference, differences
from fedbench_core.records.record import comparable_pair, read_record
from fedbench_core.runner import How, Say, run


@dataclass(frozen=True)
class Verdict:
    """Differences between a record and a new run of its spec: versions of distributions, and all other values."""

    versions: list[Difference]
    values: list[Difference]

    @property
    def agrees(self) -> bool:
        """Whether all values are equal to the bit; versions may differ."""
        return not self.values


def verify(path: Path, how: How, watch: Watch, say: Say) -> Verdict:
    """Run the spec of a record (a file or a run folder) again in a temporary folder, and compare the records.

    RunError if it isn't a complete record, or the run fails; RequestError if it can't run here, such as for a missing
    plugin.
    """
    recorded = read_record(path)
    with TemporaryDirectory(prefix="fedbench-verify-") as scratch:
        again = run(RunSpec.of(recorded["spec"]), replace(how, out=Path(scratch), keep="none"), watch, say).record
    before, now = comparable_pair(recorded, again)
    versions = differences(before.pop("versions"), now.pop("versions"))
    return Verdict(list(versions), list(differences(before, now)))
