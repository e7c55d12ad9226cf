"""`fedbench report`: leaderboards and runs as one HTML file."""

from pathlib import Path

import click

from fedbench_core.api.errors import RequestError
from fedbench_core.cli.leaderboard import folder_option
from fedbench_core.cli.output import echo
from fedbench_core.cli.units import bytes_text

_EXTRA = ("jinja2", "markdown_it", "markupsafe", "vl_convert")


@click.command("report")
@click.argument("sources", metavar="[SUITE|RUN]...", nargs=-1)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("report.html"),
    help="file to write  [default: report.html]",
)
@folder_option
def command(sources: tuple[str, ...], out: Path, folder: Path) -> None:
    """Write leaderboards and runs as one HTML file, which needs nothing else.

    SUITE is a name in leaderboards/suites or a TOML file, RUN a run's folder or its record.json; without either, the
    report shows all suites that have records.
    """
    try:
        from fedbench_core.report.write import write_report  # noqa: PLC0415  # imports pandas and torch: slow
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        raise RequestError(
            f"fedbench report needs {error.name}, which is not installed: pip install 'fedbench-core[report]'"
        ) from None
    written = write_report(sources, folder, out)
    for sentence in written:
        echo(sentence, err=True)
    echo(f"Wrote {out} ({bytes_text(out.stat().st_size)})")
