"""`fedbench predict`: what a kept model of a run predicts for images."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from fedbench_core import escapes
from fedbench_core.api.errors import RequestError
from fedbench_core.cli.flags import data_flag
from fedbench_core.cli.output import echo, json_option, print_json


@click.command("predict")
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("images", metavar="IMAGES")
@click.option("--client", type=int, metavar="N", help="whose model; not needed for one that all clients have in common")
@click.option("--role", default="", metavar="NAME", help="role of the model  [default: the headline role]")
@click.option(
    "--round",
    "which",
    type=click.Choice(["last", "selected"]),
    default="last",
    help="after the last round, or after the one with the best validation score  [default: last]",
)
@click.option("--split", default="test", metavar="NAME", help="split of an npz file or dataset  [default: test]")
@click.option(
    "--fit",
    type=click.Choice(["pad", "crop", "stretch"]),
    default="pad",
    help="how pictures become square: see folder:PATH  [default: pad]",
)
@click.option("--out", type=click.Path(path_type=Path), help="file to write  [default: standard output]")
@data_flag
@json_option
def command(
    run: Path,
    images: str,
    client: int | None,
    role: str,
    which: str,
    out: Path | None,
    data_root: Path | None,
    as_json: bool,
    **reading: Any,
) -> None:
    """Write the class probabilities that a kept model predicts, as CSV.

    The model is one of those in the run folder RUN. IMAGES is a folder of PNG and JPEG files or one of them, which are
    resized; an npz file with an array `images`, or in MedMNIST's layout; or the name of a dataset.
    """
    if out is not None and out.exists():
        raise RequestError(f"{out} exists. Give another --out, or remove it.")
    from fedbench_core.federation.files import replace_file  # noqa: PLC0415  # as below
    from fedbench_core.federation.spec import RunSpec  # noqa: PLC0415  # as below
    from fedbench_core.inference import load_model  # noqa: PLC0415  # imports torch: slow, and --help does not need it
    from fedbench_core.prediction import images_for, rows  # noqa: PLC0415  # as above
    from fedbench_core.runner import How  # noqa: PLC0415  # as above

    model = load_model(run, client, role, which)
    request = How(data_root=data_root).request(RunSpec(method="local"), lambda line: echo(line, err=True))
    predicted = list(rows(model, images_for(model, images, request, **reading)))
    if as_json:
        print_json(predicted)
    elif out is None:
        echo(_csv(predicted), nl=False)
    else:
        replace_file(out, _csv(predicted).encode())


def _csv(rows: Iterable[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    rows = list(rows)
    for row in (rows[0], *(one.values() for one in rows)):
        writer.writerow(map(escapes.csv, row))
    return text.getvalue()
