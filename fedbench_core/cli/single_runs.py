"""What `run` and `resume` have in common: a run with its progress, its scores, and those of several seeds."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from fedbench_core.api.errors import RunError
from fedbench_core.cli.notice import warn_of_broken_plugins
from fedbench_core.cli.output import echo, print_json, print_sentence, print_table
from fedbench_core.cli.progress import Log, Watch, announce, watching
from fedbench_core.cli.report import print_report
from fedbench_core.cli.serving import serving
from fedbench_core.cli.track import trackers_of

if TYPE_CHECKING:
    from fedbench_core.federation.progress import Event
    from fedbench_core.federation.spec import RunSpec
    from fedbench_core.runner import Finished, How

    Start = Callable[[How, Watch, Log], Finished]


def carry_out(start: "Start", how: dict[str, Any], track: Sequence[str], *, as_json: bool) -> None:
    """Compute a run by `start`, show its progress, and print its record or its scores. track: names of trackers."""
    started = time.monotonic()
    announce(quiet=as_json)
    with serving(processes=how["executor"] == "processes"):
        finished = _computed(start, how, track, quiet=as_json)
    if as_json:
        print_json(_document(finished))
    else:
        print_report(finished, time.monotonic() - started)


def carry_out_all(specs: "Sequence[RunSpec]", how: dict[str, Any], track: Sequence[str], *, as_json: bool) -> None:
    """Compute runs that differ in their seed, one after the other, and print means and standard deviations.

    track: names of trackers. A run that fails stops no other; RunError at the end names the seeds that failed.
    """
    failed: dict[int, str] = {}
    announce(quiet=as_json)
    with serving(processes=how["executor"] == "processes"):
        try:
            finished = _all_computed(specs, how, track, failed, quiet=as_json)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("Finished runs are kept. Continue with the same command.") from None
    if as_json:
        print_json({"runs": list(map(_document, finished)), "scores": _summary(finished), "failed": failed})
    elif finished:
        _print_summary(finished)
    if failed:
        reasons = " ".join(dict.fromkeys(failed.values()))
        raise RunError(f"No record for seed {', '.join(map(str, failed))}: {reasons}")


def _all_computed(
    specs: "Sequence[RunSpec]", how: dict[str, Any], track: Sequence[str], failed: dict[int, str], *, quiet: bool
) -> "list[Finished]":
    """The finished runs; the reasons of others go to `failed`. The images are loaded once."""
    finished, splits = [], None

    def start(how: "How", watch: Watch, log: Log) -> "Finished":
        from fedbench_core.federation.assembly import resolve  # noqa: PLC0415  # imports torch: slow
        from fedbench_core.runner import load, run  # noqa: PLC0415  # as above

        nonlocal splits
        splits = splits or load(resolve(spec), how, log)
        return run(spec, how, watch, log, splits)

    for number, spec in enumerate(specs, start=1):
        if not quiet:
            echo(f"seed {spec.seed}, run {number} of {len(specs)}", err=True)
        try:
            finished.append(_computed(start, how, track, quiet=quiet))
        except RunError as error:
            failed[spec.seed] = str(error)
    return finished


def _computed(start: "Start", how: dict[str, Any], track: Sequence[str], *, quiet: bool) -> "Finished":
    with watching(quiet=quiet) as (watch, log):
        from fedbench_core.registry import registry  # noqa: PLC0415  # imports torch: slow, and --help does not need it
        from fedbench_core.runner import How  # noqa: PLC0415  # as above
        from fedbench_core.tracking import Tracking  # noqa: PLC0415  # as above

        registry()  # so that a broken plugin is reported before the run, not after it
        warn_of_broken_plugins()
        warn = partial(echo, err=True) if quiet else log
        with Tracking(trackers_of(track), warn) as tracking:

            def watch_both(event: "Event") -> None:
                watch(event)
                tracking.watch(event)

            finished = start(How(**how), watch_both, log)
            tracking.update(finished.folder)
        return finished


def _document(finished: "Finished") -> dict[str, Any]:
    """What a run recorded, and where."""
    return {**finished.record, "folder": finished.folder}


def _summary(finished: "Sequence[Finished]") -> dict[str, dict[str, float | int | None]]:
    """The mean, the standard deviation (n - 1) and the number of seeds of each defined score of the headline role."""
    from fedbench_core.records.scored import scored  # noqa: PLC0415  # not for --help
    from fedbench_core.records.scores import SCORES  # noqa: PLC0415  # as above

    found = {}
    for name in SCORES:
        values = [scored(one.record).metrics.get(name) for one in finished]
        known = [value for value in values if value is not None]
        if known:
            found[name] = {"mean": fmean(known), "sd": stdev(known) if len(known) > 1 else None, "n": len(known)}
    return found


def _print_summary(finished: "Sequence[Finished]") -> None:
    from fedbench_core.records.scored import rounds_text, scored  # noqa: PLC0415  # as above
    from fedbench_core.records.scores import SCORES, score_text  # noqa: PLC0415  # as above

    first = finished[0].record
    seeds = [f"seed {one.record['spec']['seed']}" for one in finished]
    columns = (f"{first['test']['role']}, {rounds_text(first)}", "mean", "SD", *seeds)
    rows = [
        (
            *(SCORES[name], *map(score_text, (values["mean"], values["sd"]))),
            *(score_text(scored(one.record).metrics.get(name)) for one in finished),
        )
        for name, values in _summary(finished).items()
    ]
    print_table(columns, rows, right=columns[1:])
    echo()
    print_sentence(f"Test images, {len(finished)} seeds. SD: standard deviation over seeds (n - 1).")
    for one in finished:
        print_sentence(f"Recorded in {one.folder}")
