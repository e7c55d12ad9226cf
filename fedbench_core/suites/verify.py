"""A record made again from its manifest alone, and compared with itself."""

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from fedbench_core.federation.spec import RunSpec
from fedbench_core.records.differences import Difference, differences
from fedbench_core.records.record import comparable, read_record
from fedbench_core.federation.progress import Watch
from fedbench_core.runner import How, Say, run


@dataclass(frozen=True)
class Verdict:
    """What a run says otherwise than its record, `how` aside: versions of distributions, and everything else."""

    versions: list[Difference]
    values: list[Difference]

    @property
    def agrees(self) -> bool:
        """Whether all bits are the same, with the same versions or not."""
        return not self.values


def verify(path: Path, how: How, watch: Watch, say: Say) -> Verdict:
    """Run a record (a file, or a run's folder) again from its block `spec`, in a scratch folder, and compare.

    RunError if it is no whole record, or the run fails; RequestError if it can't be run here, for want of a plugin.
    """
    before = comparable(read_record(path))
    with TemporaryDirectory(prefix="fedbench-verify-") as scratch:
        now = comparable(run(RunSpec.of(before["spec"]), replace(how, out=Path(scratch)), watch, say).record)
    versions = differences(before.pop("versions"), now.pop("versions"))
    return Verdict(list(versions), list(differences(before, now)))
