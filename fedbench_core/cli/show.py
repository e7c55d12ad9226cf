"""`fedbench show NAME`."""

from pathlib import Path

import click

from fedbench_core.cli.entries import EMPTY, METHOD_FIELDS, OPTION_COLUMNS, Entry, accepts, option_row, option_text
from fedbench_core.cli.output import echo, json_option, print_json, print_sentence, print_table, words


@click.command("show")
@click.argument("name")
@json_option
def command(name: str, as_json: bool) -> None:
    """Show a method, part, dataset or backbone with its options, or the scores of a run.

    A name that belongs to several kinds is shown once for each of them. A run is named by its folder; its scores are
    those that it printed, and the recall of each class.
    """
    if (Path(name) / "record.json").is_file():
        _show_run(Path(name), as_json=as_json)
        return
    from fedbench_core.cli.catalog import shown  # noqa: PLC0415  # imports torch: slow, and --help does not need it

    entries = shown(name)
    if as_json:
        print_json(entries)
        return
    for position, entry in enumerate(entries):
        echo("\n" * (position > 0), nl=False)
        _show_method(entry) if entry["kind"] == "method" else _show_part(entry)


def _show_run(folder: Path, *, as_json: bool) -> None:
    from fedbench_core.cli.report import print_report  # noqa: PLC0415  # imports torch: slow, and --help does not need it
    from fedbench_core.records.correctness import class_recalls  # noqa: PLC0415  # as above
    from fedbench_core.records.record import read_record  # noqa: PLC0415  # as above
    from fedbench_core.runner import Finished  # noqa: PLC0415  # as above

    record = read_record(folder)
    if as_json:
        print_json(record)
        return
    print_report(Finished(folder, record), record["how"]["seconds"])
    recalls = class_recalls(record)
    if recalls:
        echo()
        columns = ("class", "test images", "recall, mean over clients", "worst client")
        print_table(columns, [(one.name, one.images, f"{one.mean:.3f}", f"{one.worst:.3f}") for one in recalls])


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
