"""Equal tuning: the trials of every entry of a suite, and the choice of the best one on validation images.

Trials are runs of the suite with other settings and seeds, and are recorded as such, in a folder of their own.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import qmc

from fedbench_core.api.errors import RequestError, unknown
from fedbench_core.api.search import SearchRange, range_in
from fedbench_core.api.seeds import stream
from fedbench_core.federation.assembly import assemble
from fedbench_core.federation.resolved import KINDS, ResolvedRun
from fedbench_core.federation.spec import RunSpec
from fedbench_core.records.costs import bytes_sent, gflops
from fedbench_core.records.differences import Difference, differences
from fedbench_core.records.record import RecordError
from fedbench_core.registry import registry
from fedbench_core.suites.choices import (
    LR,
    PARTS,
    TRIALS,
    Choice,
    Choices,
    Trial,
    choices_file,
    nested,
    read_choices,
)
from fedbench_core.suites.filed_records import Record, filed_by_key, records_folder
from fedbench_core.suites.files import read_suite
from fedbench_core.suites.grid import GridPoint, merged
from fedbench_core.suites.held import changes
from fedbench_core.suites.resolved_specs import expected_spec
from fedbench_core.suites.suite import LESS_IS_BETTER, Suite
from fedbench_core.suites.tables import Entry, Tuning

Filed = Mapping[str, tuple[Path, Record]]


@dataclass(frozen=True)
class Trials:
    """The trials of an entry for a dataset, a partition and backbones.

    point: its grid point; ranges: what is tuned; settings: of each trial, by name; runs: the grid points of each trial,
    by seed; fixed: settings that the entry sets itself.
    """

    point: GridPoint
    ranges: Mapping[str, SearchRange]
    settings: tuple[Mapping[str, Any], ...]
    runs: tuple[tuple[GridPoint, ...], ...]
    fixed: tuple[str, ...]


def plan_trials(suite: Suite) -> list[Trials]:
    """All trials of a suite; RequestError if it has no [tuning], and as `ranges_of`."""
    if suite.tuning is None:
        raise RequestError(f"{suite.file} has no [tuning]. Add it, such as: [tuning] trials = 16, seeds = [100, 101].")
    tuning, declared = suite.tuning, ranges_of(suite, suite.tuning)
    fixed = {entry.name: _own(entry) & declared[entry.name].keys() for entry in suite.entries}
    points = suite.default_points(tuning.seeds[:1])
    return [_trials(point, tuning, declared[point.entry], fixed[point.entry]) for point in points]


def ranges_of(suite: Suite, tuning: Tuning) -> dict[str, dict[str, SearchRange]]:
    """What can be tuned of each entry.

    RequestError for ranges of settings that are not tuned, or beyond their limits.
    """
    first = {point.entry: point for point in reversed(list(suite.default_points(tuning.seeds[:1])))}
    declared = {name: _declared(point, suite, tuning) for name, point in first.items()}
    known = {name for ranges in declared.values() for name in ranges}
    if misses := sorted(tuning.ranges.keys() - known):
        raise unknown("tuned setting (of tuning.ranges)", misses[0], known)
    return declared


def _declared(point: GridPoint, suite: Suite, tuning: Tuning) -> dict[str, SearchRange]:
    """What the parts of an entry declare as tuned, with the ranges of the suite in place of theirs."""
    try:
        run = assemble(point.spec)
        found = {name: tuning.ranges.get(name, declared) for name, declared in _of_parts(run)}
        for name in found.keys() & tuning.ranges.keys():
            for value in found[name].limits:
                assemble(RunSpec.of(merged(point.settings, nested({name: value}))))
    except RequestError as error:
        raise RequestError(f"{suite.file}: entry {point.entry!r}: {error}") from None
    return found


def _of_parts(run: ResolvedRun) -> Iterable[tuple[str, SearchRange]]:
    """The settings of a run that are tuned, but for those that define its method."""
    own = {LR: range_in(tuple(RunSpec.model_fields[LR].metadata))}  # first, so that its draws depend on no plugin
    for part in sorted(PARTS):
        name = run.method.local_update if part == "local_update" else getattr(run.spec, part)
        for option in registry().options(KINDS[part], name) if name else ():
            own[f"{part}.{option.name}"] = option.search
    defining = {*run.method.requires, *run.method.pinned}
    return [(name, search) for name, search in own.items() if search is not None and name not in defining]


def _own(entry: Entry) -> set[str]:
    """The names of the settings that an entry sets itself."""
    return {*entry.settings, *entry.settings.get("set", {})}


def _trials(point: GridPoint, tuning: Tuning, ranges: Mapping[str, SearchRange], fixed: set[str]) -> Trials:
    searched = {name: search for name, search in ranges.items() if name not in fixed}
    drawn = draw(point.suite, searched, tuning.trials)
    runs = tuple(
        tuple(_run(point, number, settings, seed) for seed in tuning.seeds) for number, settings in enumerate(drawn)
    )
    return Trials(point, searched, tuple(drawn), runs, tuple(sorted(fixed)))


def draw(suite: str, ranges: Mapping[str, SearchRange], trials: int) -> list[dict[str, Any]]:
    """The settings of each trial, by name: the default, and then the points of a scrambled Halton sequence.

    A trial depends only on the names of the suite and of the ranges, and on its number: more trials change none of
    the first. Entries with the same ranges have the same trials, so that they are compared in pairs.
    """
    halton = qmc.Halton(max(1, len(ranges)), scramble=True, rng=stream(0, "tuning", suite))
    points = halton.random(trials - 1)
    return [{}, *({name: ranges[name].at(at) for name, at in zip(ranges, point, strict=False)} for point in points)]


def _run(point: GridPoint, number: int, settings: Mapping[str, Any], seed: int) -> GridPoint:
    """A trial as a grid point. Its validation score after the last round is all that is needed."""
    measured = {"evaluate_on": "val", "evaluate_every": point.spec.rounds, "seed": seed}
    complete = {**merged(point.settings, nested(settings)), **measured}
    return replace(point, entry=f"{point.entry}, trial {number}", seed=seed, settings=complete)


def choose(suite: Suite, planned: Sequence[Trials], filed: Filed, reasons: Mapping[str, str]) -> Choices:
    """The choice for each entry, dataset, partition and backbones of which a trial has all its records.

    A trial with a run that has no record counts as worse than all others. Of equal trials the first is chosen.
    reasons: why runs have no record, by the name of the grid point. RecordError for a record with other settings.
    """
    keys = {run.key for one in planned for runs in one.runs for run in runs}
    metric = suite.ranked_by(filed[key][1] for key in sorted(keys) if key in filed)
    found = [_choice(suite, metric, one, filed, reasons) for one in planned]
    return Choices(suite=suite.name, choices=tuple(choice for choice in found if choice is not None))


def _choice(suite: Suite, metric: str, one: Trials, filed: Filed, reasons: Mapping[str, str]) -> Choice | None:
    trials = tuple(
        _trial(metric, settings, runs, filed, reasons) for settings, runs in zip(one.settings, one.runs, strict=True)
    )
    sign = -1 if metric in LESS_IS_BETTER else 1
    scores = [-np.inf if trial.score is None else sign * trial.score for trial in trials]
    if max(scores) == -np.inf:
        return None
    keys = {run.key for runs in one.runs for run in runs}
    records = [filed[key][1] for key in sorted(keys) if key in filed]
    chosen = int(np.argmax(scores))
    values = _values(one.runs[chosen][0], one.ranges)
    return Choice(
        **{name: getattr(one.point, name) for name in ("entry", "dataset", "partition", "backbones")},
        of=suite.tuning_digest(one.point),
        chosen=chosen,
        trials=trials,
        edges={name: value for name, value in values.items() if one.ranges[name].at_edge(value)},
        fixed=one.fixed,
        gflops=sum(gflops(record) or 0.0 for record in records),
        bytes_sent=sum(map(bytes_sent, records)),
    )


def _values(run: GridPoint, names: Iterable[str]) -> dict[str, Any]:
    """The values of a run's settings by name, defaults included."""
    spec = assemble(run.spec).spec
    return {name: spec.set[name] if "." in name else getattr(spec, name) for name in names}


def _trial(
    metric: str, settings: Mapping[str, Any], runs: Sequence[GridPoint], filed: Filed, reasons: Mapping[str, str]
) -> Trial:
    scores = [_score(metric, *filed[run.key], run) if run.key in filed else None for run in runs]
    defined = [score for score in scores if score is not None]
    if len(defined) == len(runs):
        return Trial(settings=dict(settings), score=float(np.mean(defined)))
    failed = next(run for run, score in zip(runs, scores, strict=True) if score is None)
    undefined = f"{metric} is undefined" if failed.key in filed else "no record"
    return Trial(settings=dict(settings), score=None, reason=reasons.get(failed.name, undefined))


def _score(metric: str, path: Path, record: Record, run: GridPoint) -> float | None:
    """The score on validation images after the last round."""
    if changed := changes(record, run, expected_spec(run)):
        raise RecordError(path, f"was run with {'; '.join(changed)}", "Repeat it with `suite tune FILE --fresh`")
    score: float | None = record["curve"][-1].get(metric)
    return score


def repeat_choices(file: Path) -> list[Difference]:
    """How the choices beside a suite file differ from those that the records of its trials give."""
    suite, before = read_suite(file), read_choices(choices_file(file))
    now = choose(suite, plan_trials(suite), filed_by_key(records_folder(file) / TRIALS), {})
    return list(differences(_comparable(before), _comparable(now)))


def _comparable(choices: Choices) -> dict[str, Any]:
    """As plain values by case, without the reasons for missing records."""
    return {
        ", ".join(choice.case): choice.model_dump(mode="json", exclude={"trials": {"__all__": {"reason"}}})
        for choice in choices.choices
    }
