"""`fedbench runs`: the runs in a folder, and the removal of interrupted ones."""

import sys
from dataclasses import asdict
from pathlib import Path

import click

from fedbench_core.api.errors import RequestError
from fedbench_core.cli.output import echo, json_option, print_json, print_sentence, print_table
from fedbench_core.cli.units import bytes_text

out_option = click.option(
    "--out", type=click.Path(path_type=Path), default=Path("runs"), help="parent folder of run folders  [default: runs]"
)


@click.group("runs", invoke_without_command=True)
@out_option
@json_option
@click.pass_context
def command(ctx: click.Context, out: Path, as_json: bool) -> None:
    """List the runs in a folder, or remove the interrupted ones."""
    if ctx.invoked_subcommand is not None:
        return
    from fedbench_core.records.runs import runs  # noqa: PLC0415  # imports torch: slow, and --help does not need it

    found = list(runs(out))
    if as_json:
        print_json([asdict(run) for run in found])
        return
    columns = ("run", "method", "data", "seed", "state", "rounds", "personalization", "size")
    rows = [
        (
            *(run.folder.name, run.method or None, run.dataset or None, run.seed, run.state, run.rounds),
            *(None if run.score is None else f"{run.score:.3f}", bytes_text(run.size)),
        )
        for run in found
    ]
    print_table(columns, rows, right=("seed", "rounds", "personalization", "size"))


@command.command("clean")
@out_option
@click.option("--yes", is_flag=True, help="do not ask")
@json_option
def clean(out: Path, yes: bool, as_json: bool) -> None:
    """Remove what interrupted runs have written.

    Finished runs stay, runs that a process computes now, and every file that no run wrote.
    """
    from fedbench_core.records.runs import remove, runs  # noqa: PLC0415  # as above

    found = [run for run in runs(out) if run.state == "interrupted"]
    if found and not yes:
        _ask([run.folder for run in found], sum(run.size for run in found))
    for run in found:
        remove(run.folder)
    if as_json:
        print_json([run.folder for run in found])
    else:
        print_sentence(f"{len(found)} interrupted runs removed, {bytes_text(sum(run.size for run in found))}.")


def _ask(folders: list[Path], size: int) -> None:
    """Go on if the user agrees; RequestError where nobody can be asked."""
    if not sys.stdin.isatty():
        raise RequestError(f"{len(folders)} interrupted runs would be removed. Add --yes to remove them.")
    for folder in folders:
        echo(str(folder))
    click.confirm(f"Remove these {len(folders)} interrupted runs ({bytes_text(size)})?", abort=True)
