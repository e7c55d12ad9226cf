"""`fedbench verify`: whether a record can be made again."""

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
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="processes  [default: all cores]")
@data_flag
@json_option
@click.pass_context
def command(ctx: click.Context, record: Path, workers: int | None, data_root: Path | None, as_json: bool) -> None:
    """Run a record again and tell whether the bits agree.

    RECORD is a filed record, a record.json or a run's folder; it is run from what it says alone. Exit status 0 if the
    bits agree, 1 if not, with the versions that differ. How it was computed (times, machine) may differ.
    """
    with serving():
        from fedbench_core.runner import How  # noqa: PLC0415  # imports torch: slow, and --help does not need it
        from fedbench_core.suites.verify import verify  # noqa: PLC0415  # as above

        with watching(quiet=as_json) as (watch, say):
            verdict = verify(record, How(workers=workers, data_root=data_root), watch, say)
    if as_json:
        print_json({"agrees": verdict.agrees, **{k: [vars(d) for d in v] for k, v in vars(verdict).items()}})
    else:
        _tell(record, verdict)
    ctx.exit(0 if verdict.agrees else 1)


def _tell(record: Path, verdict: "Verdict") -> None:
    versions = "; ".join(map(str, verdict.versions))
    with_what = f"Other versions: {versions}." if versions else "All versions are the same."
    if verdict.agrees:
        print_sentence(f"The bits agree: {record} comes out again as it was recorded. {with_what}")
        return
    shown = verdict.values[:_SHOWN]
    print_table(("value", "recorded", "now"), [(one.path, _short(one.before), _short(one.now)) for one in shown])
    click.echo()
    more = f", of which the first {_SHOWN} are shown" if len(verdict.values) > _SHOWN else ""
    print_sentence(f"{record} does not come out again: {len(verdict.values)} values differ{more}. {with_what}")


def _short(value: object) -> str:
    """The beginning of a value: per-image correctness alone can be a thousand messages."""
    text = "-" if value is None else repr(value) if isinstance(value, float) else str(value)
    return text if len(text) <= _WIDTH else f"{text[:_WIDTH]}..."
