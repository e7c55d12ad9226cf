"""A suite's runs: what is missing is computed, several at once, and filed the moment it is done."""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from fedbench_core.api import FedbenchError, RequestError, RunError
from fedbench_core.federation.resolved import ResolvedRun, assemble, check
from fedbench_core.federation.spec import RunSpec
from fedbench_core.federation.store import read_journal
from fedbench_core.records.contents import versions
from fedbench_core.records.differences import differences
from fedbench_core.records.folder import folder_of, is_done
from fedbench_core.records.record import read_record
from fedbench_core.runner import How, check_how
from fedbench_core.suites.filing import Record, file_record, filed_paths
from fedbench_core.suites.jobs import Job, Report, compute
from fedbench_core.suites.outcomes import Outcomes
from fedbench_core.suites.suite import GridPoint, Suite


@dataclass
class Task:
    """A run, and the grid points that ask for it. fresh: begin it anew, beside what other versions left."""

    spec: RunSpec
    fresh: bool
    grid_points: list[GridPoint] = field(default_factory=list)


@dataclass
class Plan:
    """What is to be done about a suite.

    recorded: grid points that have a record of the same spec and versions. stale: sentences about grid points whose record is of
    others, which are not run again. instead_of: the files of records that are to be replaced, by the key of the grid_point.
    """

    suite: Suite
    records: Path
    grid_points: int
    tasks: list[Task] = field(default_factory=list)
    recorded: int = 0
    stale: dict[str, str] = field(default_factory=dict)
    outcomes: Outcomes = field(default_factory=Outcomes)
    instead_of: dict[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """How far a suite is: a part (0 to 1) of what is to be run, and how many runs have ended.

    said: a line from a run; ended: the run that has just ended, and its sentence ("" if it is filed).
    """

    part: float
    ended: int
    runs: int
    said: str = ""
    grid_point: GridPoint | None = None
    why_not: str = ""


def plan(suite: Suite, records: Path, how: How, origin: str) -> Plan:
    """What is missing of a suite. With `how.fresh` also what is recorded with other versions.

    RequestError names `origin` (the suite's file) and the entry that asks for something which doesn't exist, before
    anything is run; RunError records that are damaged or disagree.
    """
    grid_points = suite.grid_points()
    made = Plan(suite, records, len({grid_point.name for grid_point in grid_points}))
    tasks: dict[str, Task] = {}
    filed = filed_paths(records)
    for grid_point in grid_points:
        setting = _setting(grid_point, origin, made.outcomes)
        if setting is None:
            continue
        if grid_point.key in filed and not _to_replace(
            made, grid_point, setting, *filed[grid_point.key], fresh=how.fresh
        ):
            continue
        left = _left_by_others(setting, how)
        if left and not how.fresh:
            made.outcomes.failed[grid_point.name] = left
            continue
        task = tasks.setdefault(setting.spec.digest, Task(setting.spec, fresh=bool(left)))
        task.grid_points.append(grid_point)
    made.tasks = list(tasks.values())
    return made


def conduct(made: Plan, how: How, workers: int, watch: Callable[[Step], None]) -> Outcomes:
    """Run what is planned, `workers` runs at once, and file each record the moment it is done.

    Gives what has no record in the end. Interrupted at any time, the same call goes on with what is left.
    """
    made.outcomes.write(how.out, made.suite.name)
    if not made.tasks:
        return made.outcomes
    check_how(how, [task.spec for task in made.tasks])
    serial = replace(how, executor="serial", workers=1, ray_address=None, gpus_per_client=None)
    jobs = [Job(number, task.spec, replace(serial, fresh=task.fresh)) for number, task in enumerate(made.tasks)]
    with closing(_reports(jobs, how, workers)) as received:
        for step in _steps(made, received):
            if step.grid_point is not None:
                made.outcomes.write(how.out, made.suite.name)
            watch(step)
    return made.outcomes


def _reports(jobs: list[Job], how: How, workers: int) -> Generator[Report, None, None]:
    if how.executor != "ray":
        return compute(jobs, workers)
    from fedbench_core.suites import ray_jobs  # noqa: PLC0415  # Ray: only for who asks for it

    return ray_jobs.compute(jobs, how)


def _steps(made: Plan, received: Iterator[Report]) -> Iterator[Step]:
    """News, counted; what is done is filed on the way."""
    ended, parts = 0, dict.fromkeys(range(len(made.tasks)), 0.0)

    def step(said: str = "", grid_point: GridPoint | None = None, why_not: str = "") -> Step:
        return Step(sum(parts.values()) / len(parts), ended, len(parts), said, grid_point, why_not)

    for news in received:
        number, task = news.job.number, made.tasks[news.job.number]
        if news.final:
            ended += 1
            parts[number] = 1.0
            yield step(grid_point=task.grid_points[0], why_not=_end(made, task, news))
        elif news.kind == "progress":
            parts[number] = float(news.text)
            yield step()
        else:
            yield step(said=news.text)


def _end(made: Plan, task: Task, news: Report) -> str:
    """File what is done; the sentence about what is not."""
    why_not = "" if news.kind == "done" else news.text
    for grid_point in task.grid_points:
        try:
            if not why_not:
                record = read_record(Path(news.text))
                file_record(record, grid_point, made.records, made.instead_of.get(grid_point.key))
        except RunError as error:
            why_not = str(error)
        if why_not:
            kind = made.outcomes.skipped if news.kind == "refused" else made.outcomes.failed
            kind[grid_point.name] = why_not
    return why_not


def _setting(grid_point: GridPoint, origin: str, outcomes: Outcomes) -> ResolvedRun | None:
    """The parts of a grid point; None if they don't fit together or one of them breaks, which is put among the outcomes."""
    setting = None
    try:
        setting = assemble(grid_point.spec)
        check(setting)
    except RequestError as error:
        if setting is None:
            raise RequestError(
                f"{origin}: entry {grid_point.entry!r}, partition {grid_point.partition!r}: {error}"
            ) from None
        outcomes.skipped[grid_point.name] = str(error)
        return None
    except FedbenchError as error:
        outcomes.failed[grid_point.name] = str(error)
        return None
    return setting


def _to_replace(
    made: Plan, grid_point: GridPoint, setting: ResolvedRun, path: Path, record: Record, *, fresh: bool
) -> bool:
    """Whether a grid point with a record is to be run again: it is of another spec or other versions, and `fresh`."""
    now = {"spec": setting.spec.model_dump(mode="json"), "versions": versions(setting)}
    told = [str(difference) for name, value in now.items() for difference in differences(record[name], value)]
    if not told:
        made.recorded += 1
    elif fresh:
        made.instead_of[grid_point.key] = path
        return True
    else:
        made.stale[grid_point.name] = "; ".join(told)
    return False


def _left_by_others(setting: ResolvedRun, how: How) -> str:
    """What other versions left in the run's folder, as a sentence; "" if nothing is there, or it can be gone on with.

    Damage is the run's own to tell.
    """
    folder = folder_of(setting.spec, how.out, fresh=False)
    try:
        before = read_record(folder) if is_done(folder) else read_journal(folder / "state")
    except FedbenchError:
        return ""
    told = "; ".join(map(str, differences(before["versions"], versions(setting))))
    return told and f"{folder} was begun with {told}. Use --fresh to run it again beside."
