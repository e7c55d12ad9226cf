"""`fedbench leaderboard`: rankings of the records of a suite, printed or written as pages."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fedbench_core.api.errors import RequestError, RunError
from fedbench_core.cli.output import echo, json_option, print_json, print_sentence, print_table
from fedbench_core.escapes import line

if TYPE_CHECKING:
    from fedbench_core.leaderboard.leaderboard import Leaderboard
    from fedbench_core.leaderboard.table import Table
    from fedbench_core.leaderboard.text_tables import TextTable

FORMATS = ("csv", "json", "latex", "markdown")
folder_option = click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("leaderboards"),
    help="folder with suites/ and records/, where pages are written  [default: leaderboards]",
)
_BUDGET = "keep only entries within a budget: bytes=10MB (per client and round), gflops=500, seconds=120; repeatable"


@click.command("leaderboard")
@click.argument("sources", metavar="[SUITE|RUN...]", nargs=-1)
@click.option("--sort", metavar="COLUMN", help="rank by another metric (auc, ece, ...), or sort by a cost (mb_up, ...)")
@click.option("--budget", "budgets", multiple=True, metavar="KIND=LIMIT", help=_BUDGET)
@click.option("--format", "form", type=click.Choice(FORMATS), help="print this format instead of tables")
@click.option("--notes", is_flag=True, help="print all footnotes, not only the most important ones")
@click.option("--watch", is_flag=True, help="show the tables of SUITE again whenever a run of it is recorded")
@click.option("--write", is_flag=True, help="write the page SUITE.md (without SUITE: all pages), README.md and plots")
@click.option("--check", is_flag=True, help="exit with 1 if the written pages are out of date")
@folder_option
@json_option
def command(
    sources: tuple[str, ...],
    sort: str | None,
    budgets: tuple[str, ...],
    form: str | None,
    notes: bool,
    watch: bool,
    write: bool,
    check: bool,
    folder: Path,
    as_json: bool,
) -> None:
    """Rank the entries of a suite by significance tests on its records.

    SUITE is a name in leaderboards/suites, or a TOML file; without it, all suites are listed. RUN is the folder of a
    finished run, or a folder of such folders: runs that differ only in their seed are one entry.
    """
    suite = " ".join(sources) or None
    form = "json" if as_json else form
    _check_flags(suite, sort, budgets, form, write=write, check=check)
    if watch:
        _watch(sources, folder, sort, budgets, alone=not (write or check or form or notes))
    elif write or check:
        _publish(folder, suite, check=check)
    elif suite is None:
        _print_index(folder, as_json=form == "json")
    else:
        _print_leaderboard(leaderboard_of(sources, folder, sort, budgets), form, notes=notes)


def _check_flags(
    suite: str | None, sort: str | None, budgets: Sequence[str], form: str | None, *, write: bool, check: bool
) -> None:
    """RequestError for flags that would have no effect."""
    shaping = [flag for flag, given in (("--sort", sort), ("--budget", budgets), ("--format", form)) if given]
    if write and check:
        raise RequestError("--write and --check exclude each other: give one of them.")
    if (write or check) and shaping:
        raise RequestError(
            f"{shaping[0]} does not apply to pages, which show all entries by the suite's metric: remove it."
        )
    if suite is None and not (write or check) and [flag for flag in shaping if form != "json" or flag != "--format"]:
        raise RequestError(f"{shaping[0]} needs a suite: fedbench leaderboard SUITE {shaping[0]} ...")


def _watch(sources: Sequence[str], folder: Path, sort: str | None, budgets: Sequence[str], *, alone: bool) -> None:
    """Show a suite while it runs; RequestError for anything else than one suite and what shapes its tables."""
    if len(sources) != 1 or not alone:
        raise RequestError(
            "--watch shows the tables of one suite: fedbench leaderboard SUITE --watch [--sort, --budget]"
        )
    from fedbench_core.cli.watch import watch  # noqa: PLC0415  # not for --help
    from fedbench_core.suites.files import suite_file  # noqa: PLC0415  # as above

    watch(suite_file(folder, sources[0]), lambda: leaderboard_of(sources, folder, sort, budgets))


def _publish(folder: Path, suite: str | None, *, check: bool) -> None:
    from fedbench_core.leaderboard import pages  # noqa: PLC0415  # imports pandas: slow

    rendered = pages.render(folder, suite)
    if check:
        pages.check(rendered)
        texts = len(rendered.pages) + len(rendered.documents)
        echo(f"{texts} pages and {len(rendered.figures)} plots are up to date.")
        return
    for path in pages.write(rendered):
        echo(f"Wrote {path}")
    for error in rendered.refused:
        echo(f"Refused: {error}", err=True)
    for entries in rendered.unresolved:
        echo(f"{entries}: {pages.UNRESOLVED}.", err=True)
    if rendered.unusable:
        raise RunError("\n".join(map(str, rendered.unusable)))


def _print_index(folder: Path, *, as_json: bool) -> None:
    from fedbench_core.leaderboard.index import index_table  # noqa: PLC0415  # imports pandas: slow
    from fedbench_core.leaderboard.pages import read_leaderboards  # noqa: PLC0415  # as above

    sheet = index_table(list(read_leaderboards(folder)))
    if as_json:
        print_json([dict(zip(sheet.headings, row, strict=True)) for row in sheet.rows])
        return
    print_sheet(sheet)


def leaderboard_of(
    sources: Sequence[str], folder: Path, sort: str | None = None, budgets: Sequence[str] = ()
) -> "Leaderboard":
    """The leaderboard of a suite or of runs; RequestError if the sources are neither."""
    from fedbench_core.leaderboard.adhoc import leaderboard_of as of_runs  # noqa: PLC0415  # imports pandas: slow
    from fedbench_core.leaderboard.budget import read_budget  # noqa: PLC0415  # as above
    from fedbench_core.leaderboard.pages import read_leaderboard  # noqa: PLC0415  # as above
    from fedbench_core.records.record import read_record  # noqa: PLC0415  # as above
    from fedbench_core.records.runs import finished_runs  # noqa: PLC0415  # as above
    from fedbench_core.suites.files import suite_file  # noqa: PLC0415  # as above

    limits = [read_budget(text) for text in budgets]
    runs = finished_runs(sources)
    if runs:
        return of_runs({path: read_record(path) for path in runs}, sort, limits)
    if len(sources) > 1:
        raise RequestError(f"{' '.join(sources)}: expected the folders of finished runs, or the name of one suite.")
    return read_leaderboard(suite_file(folder, sources[0]), sort, limits)


def _print_leaderboard(leaderboard: "Leaderboard", form: str | None, *, notes: bool) -> None:
    from fedbench_core.leaderboard.formats import FORMATTED  # noqa: PLC0415  # imports pandas: slow
    from fedbench_core.leaderboard.pages import UNRESOLVED  # noqa: PLC0415  # as above

    for error in leaderboard.refused if leaderboard.suite.file == "" else ():
        echo(f"Refused: {error}", err=True)
    if leaderboard.unresolved:
        echo(f"{', '.join(leaderboard.unresolved)}: {UNRESOLVED}.", err=True)
    if form is not None:
        echo(FORMATTED[form](leaderboard), nl=False)
        return
    _print_tables(leaderboard, notes=notes)


def _print_tables(leaderboard: "Leaderboard", *, notes: bool) -> None:
    from fedbench_core.leaderboard.definitions import dataset_footnotes, leaderboard_footnotes  # noqa: PLC0415  # as above
    from fedbench_core.leaderboard.outcome import SMOKE_TEST  # noqa: PLC0415  # as above
    from fedbench_core.leaderboard.text_tables import mean_rank_table  # noqa: PLC0415  # as above

    print_sentence(line(f"{leaderboard.suite.name}: {leaderboard.suite.question}"))
    if leaderboard.suite.smoke_test:
        print_sentence(SMOKE_TEST.replace("*", ""))
    echo()
    for table in leaderboard.tables:
        print_case(table, notes=notes)
    if leaderboard.over_datasets is not None:
        echo("All datasets\n")
        print_sheet(mean_rank_table(leaderboard.over_datasets))
        echo()
        _print_notes(dataset_footnotes(leaderboard.over_datasets), everything=notes)
    _print_notes(leaderboard_footnotes(leaderboard), everything=notes)
    if not notes:
        print_sentence("How scores, ranks and costs are defined, and what was compared: add --notes")


def print_case(table: "Table", *, notes: bool) -> None:
    """Print one table of a leaderboard and its footnotes: all with `notes`, else those that limit what it shows."""
    from fedbench_core.leaderboard.footnotes import table_footnotes  # noqa: PLC0415  # as above
    from fedbench_core.leaderboard.text_tables import model_table, text_tables  # noqa: PLC0415  # as above

    print_sentence(line(str(table.case)))
    echo()
    for sheet in (*text_tables(table), model_table(table)):
        if sheet.rows:
            print_sheet(sheet)
            echo()
    _print_notes(table_footnotes(table), everything=notes)


def print_sheet(sheet: "TextTable") -> None:
    """Print a table of text."""
    print_table(sheet.headings, sheet.rows, right=frozenset(sheet.headings) - sheet.left)


def _print_notes(notes: Sequence[str], *, everything: bool) -> None:
    from fedbench_core.leaderboard.phrases import Lead  # noqa: PLC0415  # as above

    shown = [note for note in notes if everything or (isinstance(note, Lead) and note.lead)]
    for note in shown:
        commands = note.commands if isinstance(note, Lead) else ()
        print_sentence(line(f"{note.lead}{note.text}" if isinstance(note, Lead) else note))
        for command in commands:
            echo(f"  {line(command)}")
    if shown:
        echo()
