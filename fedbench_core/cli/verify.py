"""`fedbench verify`: whether a recorded run is reproducible."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fedbench_core.cli.flags import data_flag
from fedbench_core.cli.output import json_option, print_json, print_sentence, print_table
from fedbench_core.cli.progress import watching
from fedbench_core.cli.serving import serving

if TYPE_CHECKING:
    from fedbench_core.suites.verify import Verdict

_SHOWN = 8
_WIDTH = 40


@click.command("verify")
@click.argument("record", metavar="RECORD", type=click.Path(path_type=Path))
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="number of processes  [default: all cores]")
@data_flag
@json_option
@click.pass_context
def command(ctx: click.Context, record: Path, workers: int | None, data_root: Path | None, as_json: bool) -> None:
    """Repeat a recorded run and check that the results are identical.

    RECORD is a filed record, a record.json or a run's folder; the run uses only the settings in it. The exit status is
    0 if all results are equal bit by bit, and 1 if not; then the versions that differ are shown, too. Times and the
    machine may differ.
    """
    with serving():
        from fedbench_core.runner import How  # noqa: PLC0415  # imports torch: slow, and --help does not need it
        from fedbench_core.suites.verify import verify  # noqa: PLC0415  # as above

        with watching(quiet=as_json) as (watch, log):
            verdict = verify(record, How(workers=workers, data_root=data_root), watch, log)
    if as_json:
        print_json({"agrees": verdict.agrees, **{k: [vars(d) for d in v] for k, v in vars(verdict).items()}})
    else:
        _print_verdict(record, verdict)
    ctx.exit(0 if verdict.agrees else 1)


def _print_verdict(record: Path, verdict: "Verdict") -> None:
    versions = "; ".join(map(str, verdict.versions))
    compared = f"Different versions: {versions}." if versions else "All versions are the same."
    if verdict.agrees:
        print_sentence(f"Identical: {record} was reproduced bit by bit. {compared}")
        return
    shown = verdict.values[:_SHOWN]
    print_table(("value", "recorded", "now"), [(one.path, _short(one.before), _short(one.now)) for one in shown])
    click.echo()
    more = f" (the first {_SHOWN} are shown)" if len(verdict.values) > _SHOWN else ""
    print_sentence(f"Not identical: {len(verdict.values)} values of {record} differ{more}. {compared}")


def _short(value: object) -> str:
    """The beginning of a value: the per-image correctness alone has a thousand characters."""
    text = "-" if value is None else repr(value) if isinstance(value, float) else str(value)
    return text if len(text) <= _WIDTH else f"{text[:_WIDTH]}..."
