"""`fedbench plot`: plots of runs and suites."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fedbench_core.api.errors import RequestError
from fedbench_core.cli.leaderboard import folder_option, leaderboard_of
from fedbench_core.cli.output import echo

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure

    from fedbench_core.leaderboard.leaderboard import Leaderboard
    from fedbench_core.leaderboard.table import Table

run_argument = click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
sources_argument = click.argument("sources", metavar="RUN...|SUITE", nargs=-1, required=True)
dpi_option = click.option(
    "--dpi", type=click.IntRange(20, 2400), default=100, show_default=True, help="pixels per inch of a PNG"
)
file_argument = click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
metric_option = click.option("--metric", help="metric to plot: auc, ece, ...  [default: the suite's metric]")
case_option = click.option("--case", metavar="WORDS", help="which table of the suite: a part of its title")


@click.group("plot")
def command() -> None:
    """Plot a run or a suite as SVG, PNG or PDF.

    RUN is a run's folder or its record.json, SUITE a name in leaderboards/suites, FILE the plot to write.
    """


@command.command("matrix")
@run_argument
@file_argument
@dpi_option
def matrix(run: Path, file: Path, dpi: int) -> None:
    """Plot the cross-evaluation matrix of a run.

    A heat map: rows are the clients' models, columns the clients' class distributions.
    """
    from fedbench_core.plots.matrix import draw_matrix  # noqa: PLC0415  # imports matplotlib: slow
    from fedbench_core.records.record import read_record  # noqa: PLC0415  # as above

    record = read_record(run)
    _save(file, dpi, lambda: draw_matrix(record))


@command.command("partition")
@run_argument
@file_argument
@dpi_option
def partition(run: Path, file: Path, dpi: int) -> None:
    """Plot the number of training images per client and class of a run.

    The area of a bubble is the number of images.
    """
    from fedbench_core.leaderboard.figures import partition_figure  # noqa: PLC0415  # imports matplotlib: slow
    from fedbench_core.records.record import read_record  # noqa: PLC0415  # as above

    record = read_record(run)
    _save(file, dpi, partition_figure(record["data"]["name"], record).draw)


@command.command("curves")
@sources_argument
@file_argument
@dpi_option
@click.option("--metric", help="metric to plot  [default: the suite's metric, or personalization]")
@case_option
@folder_option
def curves(sources: tuple[str, ...], file: Path, dpi: int, metric: str | None, case: str | None, folder: Path) -> None:
    """Plot the learning curves of a suite or of runs.

    Curves are measured on validation images. Runs that differ only in their seed are one entry, with a 95 % confidence
    interval over seeds. Each entry has a panel of its own, with the other entries in the background.
    """
    from fedbench_core.leaderboard import figures  # noqa: PLC0415  # imports matplotlib: slow
    from fedbench_core.leaderboard.columns import metric as named  # noqa: PLC0415  # as above
    from fedbench_core.leaderboard.grouping import group_by_settings  # noqa: PLC0415  # as above
    from fedbench_core.records.record import read_record  # noqa: PLC0415  # as above
    from fedbench_core.records.runs import finished_runs  # noqa: PLC0415  # as above

    runs_found = finished_runs(sources)
    if runs_found:
        runs, column = group_by_settings(map(read_record, runs_found)), named(metric or "personalization")
    else:
        table = _table(leaderboard_of(sources, folder, metric), case)
        runs, column = table.runs, table.ranked_by
    picture = figures.curves_figure(runs, column)
    if picture is None:
        raise RequestError(
            f"None of these runs has a learning curve of {column.name}, which takes two evaluated rounds or more. "
            "Run with --evaluate-every 1."
        )
    _save(file, dpi, picture.draw)


@command.command("bytes")
@sources_argument
@file_argument
@dpi_option
@metric_option
@case_option
@folder_option
def bytes_(sources: tuple[str, ...], file: Path, dpi: int, metric: str | None, case: str | None, folder: Path) -> None:
    """Plot score against bytes for the entries of a suite.

    The dashed line is the Pareto front: the best score for a number of bytes per client and round.
    """
    from fedbench_core.leaderboard.figures import tradeoff_figure  # noqa: PLC0415  # imports matplotlib: slow

    _save(file, dpi, tradeoff_figure(_table(leaderboard_of(sources, folder, metric), case)).draw)


@command.command("ranks")
@sources_argument
@file_argument
@dpi_option
@metric_option
@folder_option
def ranks(sources: tuple[str, ...], file: Path, dpi: int, metric: str | None, folder: Path) -> None:
    """Plot the critical-difference diagram of a suite.

    The suite must have at least six datasets. Entries are placed at their mean ranks; a bar joins entries that do not
    differ significantly.
    """
    from fedbench_core.leaderboard.figures import dataset_figures  # noqa: PLC0415  # imports matplotlib: slow

    leaderboard = leaderboard_of(sources, folder, metric)
    pictures = dataset_figures(leaderboard)
    if not pictures:
        without = "it has one dataset, or is not ranked"
        why_not = leaderboard.over_datasets.why_not if leaderboard.over_datasets else without
        raise RequestError(f"Suite {leaderboard.suite.name} has no critical-difference diagram: {why_not}.")
    _save(file, dpi, pictures[0].draw)


def _table(leaderboard: "Leaderboard", case: str | None) -> "Table":
    """The one table whose title contains `case`; RequestError lists the titles."""
    found = [table for table in leaderboard.tables if (case or "").lower() in str(table.case).lower()]
    if len(found) == 1:
        return found[0]
    raise RequestError(
        f"--case {case or 'is missing'}: expected a text that occurs in exactly one of these titles: "
        f"{'; '.join(str(table.case) for table in leaderboard.tables)}."
    )


def _save(file: Path, dpi: int, draw: "Callable[[], Figure]") -> None:
    from fedbench_core.plots.style import save  # noqa: PLC0415  # imports matplotlib: slow

    save(file, draw, dpi=dpi)
    echo(f"Wrote {file}")
