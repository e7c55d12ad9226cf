"""Running a suite: the missing runs are planned, computed several at a time, and filed as soon as each ends."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from fedbench_core.api import FedbenchError, RequestError, RunError
from fedbench_core.federation.assembly import assemble
from fedbench_core.federation.checks import check
from fedbench_core.federation.resolved import ResolvedRun
from fedbench_core.federation.spec import RunSpec
from fedbench_core.federation.store import read_journal
from fedbench_core.records.contents import versions
from fedbench_core.records.differences import differences
from fedbench_core.records.folder import folder_of, is_done
from fedbench_core.records.record import read_record
from fedbench_core.runner import How, check_how
from fedbench_core.suites.filed_records import Record, file_record, filed_by_key
from fedbench_core.suites.grid import GridPoint
from fedbench_core.suites.held import lacks_rounds
from fedbench_core.suites.jobs import Job, Report, compute
from fedbench_core.suites.status import Unrecorded


@dataclass
class PlannedRun:
    """A run and the grid points that it serves. fresh: use a new folder, because other versions started the old one."""

    spec: RunSpec
    fresh: bool
    grid_points: list[GridPoint] = field(default_factory=list)


@dataclass
class SuitePlan:
    """The runs that a suite still needs, or its tuning.

    name: whose runs they are. grid_points: number of distinct grid points. recorded: number of those with an up-to-date
    record. outdated: by name of the grid point, how a record that is kept differs in spec or versions. replaced: by key
    of the grid point, the file of an outdated record that its run replaces.
    """

    name: str
    records: Path
    grid_points: int
    runs: list[PlannedRun] = field(default_factory=list)
    recorded: int = 0
    outdated: dict[str, str] = field(default_factory=dict)
    unrecorded: Unrecorded = field(default_factory=Unrecorded)
    replaced: dict[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class SuiteProgress:
    """Progress of a suite: the share of all work that is done (0 to 1), and the number of runs that have ended.

    line: a log line of a run. grid_point: that of a run that has just ended; reason: why it has no record, or "";
    folder: of the run, None if it failed.
    running: the share of each run that is computed now, by the name of its grid point.
    """

    fraction: float
    ended: int
    runs: int
    line: str = ""
    grid_point: GridPoint | None = None
    reason: str = ""
    folder: Path | None = None
    running: Mapping[str, float] = field(default_factory=dict)


def plan_runs(name: str, grid_points: Sequence[GridPoint], records: Path, how: How, origin: str) -> SuitePlan:
    """The runs of these grid points that have no record in `records`; with `how.fresh` also of outdated records.

    RequestError names `origin` (the suite file) and the entry for an unknown name or option, and why no run at all can
    be computed, before any run starts; RunError names records that are damaged or disagree.
    """
    plan = SuitePlan(name, records, len({grid_point.name for grid_point in grid_points}))
    runs: dict[str, PlannedRun] = {}
    filed = filed_by_key(records)
    for grid_point in grid_points:
        resolved = _resolved(grid_point, origin, plan.unrecorded)
        if resolved is None or not _is_missing(plan, grid_point, resolved, filed.get(grid_point.key), fresh=how.fresh):
            continue
        conflict = _folder_conflict(resolved, how)
        if conflict and not how.fresh:
            plan.unrecorded.failed[grid_point.name] = conflict
            continue
        run = runs.setdefault(resolved.spec.digest, PlannedRun(resolved.spec, fresh=bool(conflict)))
        run.grid_points.append(grid_point)
    plan.runs = list(runs.values())
    if plan.grid_points and len(plan.unrecorded.skipped) == plan.grid_points:
        raise RequestError(f"{origin}: no run can be computed: {next(iter(plan.unrecorded.skipped.values()))}")
    return plan


def run_suite(plan: SuitePlan, how: How, watch: Callable[[SuiteProgress], None]) -> Unrecorded:
    """Compute the planned runs, `how.workers` at a time, and file their records; returns the grid points without one.

    After an interruption, the same call continues with the remaining runs.
    """
    how = replace(how, keep="none")  # a suite has hundreds of runs, whose records are wanted
    plan.unrecorded.write(how.out, plan.name)
    if not plan.runs:
        return plan.unrecorded
    check_how(how, [run.spec for run in plan.runs])
    serial = replace(how, executor="serial", workers=1, ray_address=None, gpus_per_client=None)
    jobs = [Job(number, run.spec, replace(serial, fresh=run.fresh)) for number, run in enumerate(plan.runs)]
    fractions, ended = [0.0] * len(jobs), 0
    running: dict[str, float] = {}
    with closing(_computed(jobs, how)) as reports:
        for report in reports:
            run, line, grid_point, reason, folder = plan.runs[report.job.number], "", None, "", None
            name = run.grid_points[0].name
            if report.final:
                ended += 1
                running.pop(name, None)
                fractions[report.job.number] = 1.0
                grid_point, reason = run.grid_points[0], _file(plan, run, report)
                folder = Path(report.text) if report.kind == "done" else None
                plan.unrecorded.write(how.out, plan.name)
            elif report.kind == "progress":
                fractions[report.job.number] = running[name] = float(report.text)
            else:
                line = report.text
            done = sum(fractions) / len(jobs)
            watch(SuiteProgress(done, ended, len(jobs), line, grid_point, reason, folder, dict(running)))
    return plan.unrecorded


def _computed(jobs: list[Job], how: How) -> Generator[Report, None, None]:
    """The reports of all jobs; those that another process computes come last, when it is done with them."""
    busy = []
    for report in _reports(jobs, how):
        if report.kind == "busy":
            busy.append(replace(report.job, how=replace(jobs[report.job.number].how, wait=True)))
        else:
            yield report
    if busy:
        yield from compute(busy, how.workers)


def _reports(jobs: list[Job], how: How) -> Generator[Report, None, None]:
    if how.executor != "ray":
        return compute(jobs, how.workers)
    from fedbench_core.suites import ray_jobs  # noqa: PLC0415  # Ray is optional

    return ray_jobs.compute(jobs, how)


def _file(plan: SuitePlan, run: PlannedRun, report: Report) -> str:
    """File the record of a run that has ended; returns the reason if there is none."""
    reason = "" if report.kind == "done" else report.text
    for grid_point in run.grid_points:
        try:
            if not reason:
                record = read_record(Path(report.text))
                file_record(record, grid_point, plan.records, plan.replaced.get(grid_point.key))
        except RunError as error:
            reason = str(error)
        if reason:
            reasons = plan.unrecorded.skipped if report.kind == "refused" else plan.unrecorded.failed
            reasons[grid_point.name] = reason
    return reason


def _resolved(grid_point: GridPoint, origin: str, unrecorded: Unrecorded) -> ResolvedRun | None:
    """The resolved run of a grid point; None, with the reason in `unrecorded`, if its parts don't work together."""
    resolved = None
    try:
        resolved = assemble(grid_point.spec)
        check(resolved)
    except RequestError as error:
        if resolved is None:
            raise RequestError(
                f"{origin}: entry {grid_point.entry!r}, partition {grid_point.partition!r}: {error}"
            ) from None
        unrecorded.skipped[grid_point.name] = str(error)
        return None
    except FedbenchError as error:
        unrecorded.failed[grid_point.name] = str(error)
        return None
    return resolved


def _is_missing(
    plan: SuitePlan, grid_point: GridPoint, resolved: ResolvedRun, filed: tuple[Path, Record] | None, *, fresh: bool
) -> bool:
    """Whether a grid point needs a run: it has no record, or an outdated one and `fresh` is set."""
    if filed is None:
        return True
    path, record = filed
    now = {"spec": resolved.spec.model_dump(mode="json"), "versions": versions(resolved)}
    changes = [str(difference) for name, value in now.items() for difference in differences(record[name], value)]
    if lacks_rounds(record, resolved.period):
        changes.append(f"scores of the last round (now means over {resolved.period} rounds)")
    if not changes:
        plan.recorded += 1
    elif fresh:
        plan.replaced[grid_point.key] = path
        return True
    else:
        plan.outdated[grid_point.name] = "; ".join(changes)
    return False


def _folder_conflict(resolved: ResolvedRun, how: How) -> str:
    """Why the run folder can't be continued: other versions started it; "" if it can, or if there is none.

    Damaged folders are reported by the run itself.
    """
    folder = folder_of(resolved.spec, how.out, fresh=False)
    try:
        before = read_record(folder) if is_done(folder) else read_journal(folder / "state")
    except (FedbenchError, OSError):
        return ""
    changes = "; ".join(map(str, differences(before["versions"], versions(resolved))))
    return changes and f"{folder} was started with {changes}. Use --fresh to run it again in a new folder."
