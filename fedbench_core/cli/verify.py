"""`fedbench verify`: whether a recorded run is reproducible."""

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedbench_core.api.errors import RequestError
from fedbench_core.cli.flags import data_flag
from fedbench_core.cli.leaderboard import folder_option
from fedbench_core.cli.output import echo, json_option, print_json, print_sentence, print_table
from fedbench_core.cli.progress import watching
from fedbench_core.cli.serving import serving

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedbench_core.records.differences import Difference
    from fedbench_core.runner import How
    from fedbench_core.suites.verify import Verdict

_SHOWN = 8
_WIDTH = 40
_SEEDS = 1_000_000


@click.command("verify")
@click.argument("record", metavar="RECORD|SUITE", type=click.Path(path_type=Path))
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="number of processes  [default: all cores]")
@click.option("--sign", metavar="NAME", help="note beside a filed record that NAME repeated the run with equal results")
@click.option(
    "--sample", "size", type=click.IntRange(min=1), metavar="N", help="verify N records of SUITE, drawn at random"
)
@click.option(
    "--seed", type=click.IntRange(min=0), metavar="N", help="draw the same sample again  [default: a new one]"
)
@folder_option
@data_flag
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    record: Path,
    workers: int | None,
    sign: str | None,
    size: int | None,
    seed: int | None,
    folder: Path,
    data_root: Path | None,
    as_json: bool,
) -> None:
    """Repeat a recorded run and check that the results are identical.

    RECORD is a filed record, a record.json or a run's folder; the run uses only the settings in it, which must be those
    of its grid point. With --sample it is a SUITE: a name in leaderboards/suites, or a TOML file. For a NAME.tuned.json
    the choice of settings is repeated from the records of its trials, without any run. The exit status is
    0 if all results are equal bit by bit, and 1 if not; then the versions that differ are shown, too. Times and the
    machine may differ.
    """
    if seed is not None and size is None:
        raise RequestError("--seed draws a sample: add --sample N, or leave it out.")
    if record.name.endswith(".tuned.json"):
        if size is not None or sign is not None:
            raise RequestError(f"{record} is no record: --sample and --sign do not apply. Leave them out.")
        ctx.exit(_verify_choices(record, as_json=as_json))
    with serving():
        from fedbench_core.runner import How  # noqa: PLC0415  # imports torch: slow, and --help does not need it

        paths = [record] if size is None else _sample(record, folder, size, seed, quiet=as_json)
        verdicts = [_verify(path, How(workers=workers, data_root=data_root), sign, quiet=as_json) for path in paths]
    if as_json:
        values = [_value(path, verdict) for path, verdict in zip(paths, verdicts, strict=True)]
        print_json(values[0] if size is None else values)
    ctx.exit(0 if all(verdict.agrees for verdict in verdicts) else 1)


def _sample(suite: Path, folder: Path, size: int, seed: int | None, *, quiet: bool) -> list[Path]:
    from fedbench_core.suites.filed_records import records_folder  # noqa: PLC0415  # as above
    from fedbench_core.suites.files import read_suite, suite_file  # noqa: PLC0415  # as above
    from fedbench_core.suites.verify import sample  # noqa: PLC0415  # as above

    seed = secrets.randbelow(_SEEDS) if seed is None else seed
    file = suite_file(folder, str(suite))
    read_suite(file)  # an unknown suite is an error that lists the others
    paths = sample(records_folder(file), size, seed)
    if not quiet:
        echo(f"Sample of {len(paths)} records; to draw it again: --sample {size} --seed {seed}", err=True)
    return paths


def _verify(path: Path, how: "How", sign: str | None, *, quiet: bool) -> "Verdict":
    from fedbench_core.suites.verifications import sign as sign_record  # noqa: PLC0415  # as above
    from fedbench_core.suites.verify import verify  # noqa: PLC0415  # as above

    if sign is not None:
        _check_sign(sign, path)
    with watching(quiet=quiet) as (watch, log):
        verdict = verify(path, how, watch, log)
    if not quiet:
        _print_verdict(path, verdict)
    if sign is not None and verdict.agrees:
        signed = sign_record(path, verdict.record, sign, verdict.now)
        if not quiet:
            print_sentence(f"Signed as {sign}: {signed}")
    return verdict


def _check_sign(name: str, path: Path) -> None:
    """RequestError for a name or a record with which a verification can't be signed, before anything is run."""
    from fedbench_core.records.record import read_record  # noqa: PLC0415  # as above
    from fedbench_core.suites.verifications import LONGEST_NAME  # noqa: PLC0415  # as above

    if not name.strip() or len(name) > LONGEST_NAME:
        raise RequestError(f"--sign {_short(name)}: expected a name of 1 to {LONGEST_NAME} characters.")
    if path.is_dir() or read_record(path).get("grid_point") is None:
        raise RequestError(f"--sign needs a filed record, such as those in leaderboards/records; got {path}.")


def _verify_choices(path: Path, *, as_json: bool) -> int:
    """Print whether the records of trials give these choices; returns the exit status."""
    from fedbench_core.suites.choices import suite_of  # noqa: PLC0415  # as above
    from fedbench_core.suites.tuning import repeat_choices  # noqa: PLC0415  # as above

    found = repeat_choices(suite_of(path))
    if as_json:
        print_json({"choices": path, "agrees": not found, "values": [vars(one) for one in found]})
    elif found:
        _print_differences(path, found, "")
    else:
        print_sentence(f"Identical: the records of the trials give the choices in {path}.")
    return 1 if found else 0


def _value(path: Path, verdict: "Verdict") -> dict[str, Any]:
    differences = {"versions": verdict.versions, "values": verdict.values}
    shown = {name: [vars(one) for one in found] for name, found in differences.items()}
    return {"record": path, "agrees": verdict.agrees, **shown}


def _print_verdict(record: Path, verdict: "Verdict") -> None:
    versions = "; ".join(map(str, verdict.versions))
    compared = f"Different versions: {versions}." if versions else "All versions are the same."
    if verdict.agrees:
        print_sentence(f"Identical: {record} was reproduced bit by bit. {compared}")
        return
    _print_differences(record, verdict.values, f" {compared}")


def _print_differences(path: Path, values: "Sequence[Difference]", compared: str) -> None:
    shown = [(one.path, _short(one.before), _short(one.now)) for one in values[:_SHOWN]]
    print_table(("value", "recorded", "now"), shown)
    echo()
    more = f" (the first {_SHOWN} are shown)" if len(values) > _SHOWN else ""
    print_sentence(f"Not identical: {len(values)} values of {path} differ{more}.{compared}")


def _short(value: object) -> str:
    """The beginning of a value: the per-image correctness alone has a thousand characters."""
    text = "-" if value is None else repr(value) if isinstance(value, float) else str(value)
    return text if len(text) <= _WIDTH else f"{text[:_WIDTH]}..."
