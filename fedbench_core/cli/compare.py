"""`fedbench compare`: a suite without a file."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedbench_core.api.errors import RequestError, RunError
from fedbench_core.cli.computing import run_planned
from fedbench_core.cli.flags import data_flag, given_settings, read_seeds, spec_flags
from fedbench_core.cli.known import check_names
from fedbench_core.cli.output import echo, json_option, print_json, print_sentence
from fedbench_core.cli.serving import serving
from fedbench_core.cli.track import track_flag, trackers_of

if TYPE_CHECKING:
    from fedbench_core.api import Tracker
    from fedbench_core.suites.status import Unrecorded
    from fedbench_core.suites.suite import Suite

NAME = "compare"


@click.command("compare")
@click.argument("methods", nargs=-1, required=True)
@partial(spec_flags, without=("method", "seed"))
@click.option(
    "--seeds", default="3", show_default=True, metavar="N|A,B,...", help="number of seeds, or a list of seeds"
)
@click.option("--metric", help="score to rank by  [default: personalization, or auc for two classes or skewed ones]")
@click.option(
    "--save", type=click.Path(path_type=Path), metavar="FILE.toml", help="write the comparison as a suite file"
)
@click.option(
    "--workers", type=click.IntRange(min=1), metavar="N", help="number of parallel runs  [default: all cores]"
)
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs"), help="parent folder  [default: runs]")
@click.option("--notes", is_flag=True, help="print all footnotes, not only the most important ones")
@data_flag
@track_flag
@json_option
def command(
    methods: tuple[str, ...],
    seeds: str,
    metric: str | None,
    save: Path | None,
    workers: int | None,
    out: Path,
    notes: bool,
    track: tuple[str, ...],
    **given: Any,
) -> None:
    """Run METHODS with the same settings and seeds, and compare their scores by significance tests.

    All flags of `fedbench run` apply to every method. Finished runs are not repeated, and their records are kept in
    OUT/records. With `--save` the comparison becomes a suite: add entries and partitions to it, and run it with
    `fedbench suite run FILE.toml`.
    """
    as_json, data_root, config = given.pop("as_json"), given.pop("data_root"), given.pop("config")
    for method in methods:
        check_names({"method": method})
    settings, several = given_settings(given, config), read_seeds(seeds)
    with serving("fedbench_core.suites.imported", processes=True):
        from fedbench_core.suites.adhoc import adhoc_suite, suite_text  # noqa: PLC0415  # imports torch: slow

        trackers = trackers_of(track)
        suite = adhoc_suite(save.stem if save else NAME, methods, several, settings, metric)
        if save is not None:
            _save(save, suite_text(suite))
        outcomes = _run(suite, workers, out, data_root, trackers, quiet=as_json)
    _show(suite, out, outcomes, notes=notes, as_json=as_json)
    if save is not None and not as_json:
        print_sentence(f"Saved as {save}. Go on with: fedbench suite run {save} --out {out}")
    if outcomes.failed:
        raise RunError(" ".join(_sentences(outcomes.failed.values())))


def _save(path: Path, text: str) -> None:
    from fedbench_core.federation.files import make_folder, replace_file  # noqa: PLC0415  # as above

    if path.exists():
        raise RequestError(f"{path} exists. Give --save another name, or remove it.")
    make_folder(path.parent)
    replace_file(path, text.encode())


def _run(
    suite: "Suite",
    workers: int | None,
    out: Path,
    data_root: Path | None,
    trackers: "Mapping[str, Tracker]",
    *,
    quiet: bool,
) -> "Unrecorded":
    """Compute the missing runs; an error if none has a record then."""
    from fedbench_core.runner import How  # noqa: PLC0415  # imports torch: slow, and --help does not need it
    from fedbench_core.suites.running import plan_runs  # noqa: PLC0415  # as above

    how = How(out=out, workers=workers, data_root=data_root)
    plan = plan_runs(suite.name, suite.grid_points(), out / "records", how, "fedbench compare")
    outcomes = run_planned(plan, how, "Finished runs are kept.", trackers, quiet=quiet)
    reasons = {**outcomes.skipped, **outcomes.failed}
    if len(reasons) == plan.grid_points:
        raise (RunError if outcomes.failed else RequestError)(" ".join(_sentences(reasons.values())))
    for reason in _sentences(outcomes.skipped.values()):
        echo(f"Left out: {reason}", err=True)
    return outcomes


def _sentences(reasons: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(reasons))


def _show(suite: "Suite", out: Path, outcomes: "Unrecorded", *, notes: bool, as_json: bool) -> None:
    from fedbench_core.cli.leaderboard import print_case, print_sheet  # noqa: PLC0415  # imports pandas: slow
    from fedbench_core.leaderboard.adhoc import leaderboard_of  # noqa: PLC0415  # as above
    from fedbench_core.leaderboard.formats import to_json  # noqa: PLC0415  # as above
    from fedbench_core.leaderboard.text_tables import pair_table  # noqa: PLC0415  # as above
    from fedbench_core.suites.filed_records import filed_by_key  # noqa: PLC0415  # as above

    filed, keys = filed_by_key(out / "records"), {one.key for one in suite.grid_points()}
    own = {path: record for key, (path, record) in filed.items() if key in keys}
    leaderboard = replace(leaderboard_of(own, suite.metric), suite=suite)
    for error in leaderboard.refused:
        echo(f"Refused: {error}", err=True)
    if as_json:
        paths = {path.stem: path for path in own}
        reasons = {"skipped": outcomes.skipped, "failed": outcomes.failed}
        print_json({**json.loads(to_json(leaderboard)), "recorded": paths, **reasons})
        return
    [table] = leaderboard.tables
    print_case(table, notes=notes)
    print_sheet(pair_table(table, table.pairs))
