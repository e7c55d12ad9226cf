"""`fedbench plot`: pictures of a run."""

from pathlib import Path

import click


@click.command("plot")
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
def command(run: Path, file: Path) -> None:
    """Draw the cross-evaluation matrix of a run, as SVG, PNG or PDF.

    RUN is a run's folder or its record.json. Rows of the heat map are clients' models, columns clients' distributions.
    """
    from fedbench_core.results.plots import plot_matrix  # noqa: PLC0415  # matplotlib and torch: not for --help
    from fedbench_core.results.record import read_record  # noqa: PLC0415  # as above

    plot_matrix(read_record(run), file)
    click.echo(f"Drawn: {file}")
