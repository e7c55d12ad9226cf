"""`fedbench show NAME`."""

from typing import Any

import click

from fedbench_core.cli.output import json_option, print_json, print_table, words

OPTION_COLUMNS = ("option", "default", "accepts", "meaning")
FACTS = ("paper", "fidelity", "data", "mixed_backbones", "partial_participation", "pinned")
"""What is told of a method beside its parts."""


@click.command("show")
@click.argument("name")
@json_option
def command(name: str, as_json: bool) -> None:
    """One name in full: its options, their defaults and meaning, its paper.

    NAME is that of a method, a part, a dataset or a backbone; what several kinds have is shown for each.
    """
    from fedbench_core.cli.catalog import shown  # noqa: PLC0415  # torch: seconds that --help does not need

    entries = shown(name)
    if as_json:
        print_json(entries)
        return
    for position, entry in enumerate(entries):
        click.echo("\n" * (position > 0), nl=False)
        _show_method(entry) if entry["kind"] == "method" else _show_part(entry)


def _show_part(entry: dict[str, Any]) -> None:
    _show_origin(entry)
    if entry.get("declares"):
        click.echo("\n" + "\n".join(f"{word}: {words(told)}" for word, told in entry["declares"].items()))
    if not entry["options"]:
        click.echo("\nNo options.")
        return
    click.echo()
    print_table(OPTION_COLUMNS, map(option_row, entry["options"]))
    click.echo(f"\nSet with --set {entry['kind']}.{entry['options'][0]['name']}=VALUE")


def _show_method(entry: dict[str, Any]) -> None:
    _show_origin(entry)
    click.echo()
    for fact in FACTS:
        if entry[fact] != "":
            click.echo(f"{fact.replace('_', ' ')}: {words(entry[fact])}")
    click.echo()
    rows = [row for part, what in entry["parts"].items() for row in _part_rows(part, what)]
    print_table(("part", "name", "option", "value", "accepts", "meaning"), rows)
    for part, what in entry["parts"].items():
        if what["problem"]:
            click.echo(f"\nThis method cannot run here: its {part.replace('_', ' ')}: {what['problem']}")


def _show_origin(entry: dict[str, Any]) -> None:
    click.echo(f"{entry['kind'].replace('_', ' ')} {entry['name']}, from {entry['distribution']} {entry['version']}")
    if entry["doc"]:
        click.echo(f"\n{entry['doc']}")


def _part_rows(part: str, what: dict[str, Any]) -> list[tuple[str, ...]]:
    head = part, what["name"]
    if not what["options"]:
        return [(*head, "", "", "", "")]
    rows = [(f"{part}.{o['name']}", text(o["value"]), o["accepts"], o["description"]) for o in what["options"]]
    return [(*(head if position == 0 else ("", "")), *row) for position, row in enumerate(rows)]


def option_row(option: dict[str, Any]) -> tuple[str, str, str, str]:
    """What is told of an option of a part, in the order of `OPTION_COLUMNS`."""
    default = "required" if option["required"] else text(option["default"])
    return option["name"], default, option["accepts"], option["description"]


def text(value: object) -> str:
    """An option's value as `--set` takes it."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return str(list(value)) if isinstance(value, tuple) else str(getattr(value, "value", value))
