"""`fedbench show NAME`."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from fedbench_core.api.errors import RequestError
from fedbench_core.cli.entries import EMPTY, METHOD_FIELDS, OPTION_COLUMNS, Entry, accepts, option_row, option_text
from fedbench_core.cli.output import echo, json_option, print_json, print_sentence, print_table, words


@click.command("show")
@click.argument("name")
@click.option("--client", type=int, metavar="N", help="of a run: the classes as this client's model predicts them")
@json_option
def command(name: str, client: int | None, as_json: bool) -> None:
    """Show a method, part, dataset or backbone with its options, or the scores of a run.

    A name that belongs to several kinds is shown once for each of them. A run is named by its folder; its scores are
    those that it printed, the scores of each class, and the confusion matrix.
    """
    if (Path(name) / "record.json").is_file():
        _show_run(Path(name), client, as_json=as_json)
        return
    if client is not None:
        raise RequestError(f"--client needs the folder of a finished run; {name} is none.")
    from fedbench_core.cli.catalog import shown  # noqa: PLC0415  # imports torch: slow, and --help does not need it

    entries = shown(name)
    if as_json:
        print_json(entries)
        return
    for position, entry in enumerate(entries):
        echo("\n" * (position > 0), nl=False)
        _show_method(entry) if entry["kind"] == "method" else _show_part(entry)


def _show_run(folder: Path, client: int | None, *, as_json: bool) -> None:
    from fedbench_core.cli.report import print_report  # noqa: PLC0415  # imports torch: slow, and --help does not need it
    from fedbench_core.records.predictions import confusion  # noqa: PLC0415  # as above
    from fedbench_core.records.record import read_record  # noqa: PLC0415  # as above
    from fedbench_core.runner import Finished  # noqa: PLC0415  # as above

    record = read_record(folder)
    if client is not None:
        confusion(record, client)  # an unknown client is an error before anything is printed
    if as_json:
        print_json({**record, "folder": folder, **_classes(record, client)})
        return
    print_report(Finished(folder, record), record["how"]["seconds"])
    _show_classes(record, client)


def _classes(record: Mapping[str, Any], client: int | None) -> dict[str, Any]:
    """The scores of each class and the confusion matrix; None for a matrix that the record does not have."""
    from fedbench_core.records.predictions import class_scores, confusion  # noqa: PLC0415  # as above

    classes = class_scores(record, client)
    try:
        matrix = confusion(record, client).tolist() if classes else None
    except RequestError:
        matrix = None
    return {"classes": [asdict(one) for one in classes], "confusion": matrix}


def _show_classes(record: Mapping[str, Any], client: int | None) -> None:
    """Print the scores of each class and the confusion matrix, as far as the record has them."""
    from fedbench_core.records.predictions import class_scores, confusion, count_text  # noqa: PLC0415  # as above
    from fedbench_core.records.scores import score_text  # noqa: PLC0415  # as above

    found = class_scores(record, client)
    if not found:
        return
    whose = "mean over clients" if client is None else f"client {client}"
    echo()
    columns = ("class", "test images", f"recall, {whose}", *(("worst client",) if client is None else ()))
    values = [(one.recall, *((one.worst,) if client is None else ()), one.precision, one.f1) for one in found]
    numbers = [tuple(map(score_text, row)) for row in values]
    rows = [(one.name, str(one.images), *row) for one, row in zip(found, numbers, strict=True)]
    print_table((*columns, "precision", "F1"), rows, right=(*columns[1:], "precision", "F1"))
    if record["test"].get("predicted") is None:
        return
    classes, matrix = record["data"]["classes"], confusion(record, client)
    echo(f"\nConfusion matrix ({whose}): test images by true class (rows) and predicted class (columns)\n")
    cells = [(name, *map(count_text, row)) for name, row in zip(classes, matrix, strict=True)]
    print_table(("true class", *classes), cells, right=classes)


def _show_part(entry: Entry) -> None:
    _show_origin(entry)
    if entry.get("declares"):
        echo("\n" + "\n".join(f"{name}: {words(value)}" for name, value in entry["declares"].items()))
    if not entry["options"]:
        echo("\nNo options.")
        return
    echo()
    print_table(OPTION_COLUMNS, map(option_row, entry["options"]))
    echo(f"\nSet an option with --set {entry['kind']}.{entry['options'][0]['name']}=VALUE")


def _show_method(entry: Entry) -> None:
    _show_origin(entry)
    echo()
    for field in METHOD_FIELDS:
        if entry[field] not in EMPTY:
            echo(f"{field.replace('_', ' ')}: {words(entry[field])}")
    echo()
    print_table(("part", "name"), [(kind, part["name"]) for kind, part in entry["parts"].items()])
    _show_method_options(entry)
    for kind, part in entry["parts"].items():
        if part["problem"]:
            print_sentence(f"\nThis method cannot run: {kind.replace('_', ' ')}: {part['problem']}")


def _show_method_options(entry: Entry) -> None:
    rows = [
        (f"{kind}.{option['name']}", option_text(option["value"]), accepts(option), option["description"])
        for kind, part in entry["parts"].items()
        for option in part["options"]
    ]
    if rows:
        echo()
        print_table(("option", "value", "accepts", "meaning"), rows)


def _show_origin(entry: Entry) -> None:
    echo(f"{entry['kind'].replace('_', ' ')} {entry['name']}, from {entry['distribution']} {entry['version']}")
    if entry["doc"]:
        echo()
        print_sentence(entry["doc"])
