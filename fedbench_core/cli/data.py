"""`fedbench data check`."""

from pathlib import Path
from typing import Any

import click

from fedbench_core.cli.flags import data_flag, read_option
from fedbench_core.cli.output import echo, json_option, print_json, print_sentence, print_table


@click.group("data")
def command() -> None:
    """Check a dataset: classes, sites, duplicates, and what is wrong in which file.

    `fedbench list datasets` lists the installed datasets, `fedbench show DATASET` the options of one.
    """


@command.command("check")
@click.argument("dataset", metavar="DATASET")
@click.option("--image-size", metavar="N", help="pixels per side; the dataset's smallest if not given")
@click.option("--set", "options", multiple=True, metavar="dataset.OPTION=VALUE", help="an option; repeatable")
@click.option("--allow-unofficial", is_flag=True, help="accept a file that differs from the published one")
@data_flag
@json_option
def check(dataset: str, options: tuple[str, ...], data_root: Path | None, as_json: bool, **settings: Any) -> None:
    """Read a dataset, and show its images by class and site, duplicates, and what is wrong with which file.

    DATASET is a name, or folder:PATH or npz:PATH. The exit status is 1 if the dataset can't be used.
    """
    from fedbench_core.data.survey import survey  # noqa: PLC0415  # imports torch: slow, and --help does not need it
    from fedbench_core.federation.assembly import assemble  # noqa: PLC0415  # as above
    from fedbench_core.federation.spec import RunSpec  # noqa: PLC0415  # as above
    from fedbench_core.runner import How, load  # noqa: PLC0415  # as above

    given = {name: value for name, value in settings.items() if value}
    spec = RunSpec.of({"method": "local", "dataset": dataset, "set": dict(map(read_option, options)), **given})
    found = survey(load(assemble(spec), How(data_root=data_root), lambda line: echo(line, err=True)))
    if as_json:
        print_json(found)
        return
    _print(found)


def _print(found: dict[str, Any]) -> None:
    pixels = " x ".join(map(str, found["image_shape"]))
    official = "an official benchmark dataset" if found["official"] else "not an official benchmark dataset"
    print_sentence(f"{found['name']}: {found['task']}, {pixels} pixels, {official}, digest {found['digest']}\n")
    images = {"class": "all images", **found["images"]}
    multi_label = found["task"] == "multi-label"
    print_table(list(images), [list(row.values()) for row in [*found["classes"], images]])
    if multi_label:
        print_sentence("An image may have several labels.")
    if found["sites"]:
        echo()
        print_table(list(found["sites"][0]), [list(row.values()) for row in found["sites"]])
    echo()
    for note in found["notes"] or [
        "No duplicates, no blank images, and every class and site has images in all splits."
    ]:
        print_sentence(note)
