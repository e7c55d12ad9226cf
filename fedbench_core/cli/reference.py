"""`fedbench reference`."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from fedbench_core.cli.list_ import KINDS
from fedbench_core.cli.output import words
from fedbench_core.cli.show import FACTS, OPTION_COLUMNS, option_row, text

if TYPE_CHECKING:
    from fedbench_core.cli.sources import Item, Module

API, LEARNING, TESTING = (f"fedbench_core.{package}" for package in ("api", "learning", "testing"))
CORE = "fedbench-core"

_HEAD = """# Reference

Everything that a plugin can use or is asked for, read off the code by `fedbench reference`. The [tutorial](TUTORIAL.md)
is the way through it.

- [What a plugin adds](#what-a-plugin-adds): the hooks.
- [The contract](#the-contract): what parts look like and what they are handed, `fedbench_core.api`.
- [What parts are built from](#what-parts-are-built-from): training loops, losses, messages, `fedbench_core.learning`.
- [Contract suites](#contract-suites): what a part is tested for, `fedbench_core.testing`.
- [Parts of the core](#parts-of-the-core): what is there already, with every option.
"""
_CONTRACT = "What is marked *yours* must be written; everything else has a default or is handed to you."
_BUILT = "None of it must be used."
_SUITES = 'Subclass a suite, set `name = "..."` to the name of your part, and pytest runs every case.'
_PARTS = "As `fedbench show NAME` tells it. `--set KIND.OPTION=VALUE` sets an option."


@click.command("reference")
def command() -> None:
    """The contract and every option of the core's parts, as Markdown."""
    click.echo("\n".join(_lines()))


def _lines() -> Iterator[str]:
    from fedbench_core.cli.sources import exported, further, read  # noqa: PLC0415  # not before a command is called

    api, learning, testing = (exported(package) for package in (API, LEARNING, TESTING))
    yield _HEAD
    hookspecs = f"{API}.hookspecs"
    yield from ("## What a plugin adds", "", *_hooks(hookspecs, {name for names in testing.values() for name in names}))
    for item in read(hookspecs, api.pop(hookspecs)).items:
        yield from _item(item, "###")
    yield from ("## The contract", "", _CONTRACT, "")
    for name in sorted(api, key=lambda name: (not name.endswith(".parts"), name)):
        yield from _module(read(name, api[name]))
    yield from ("## What parts are built from", "", _BUILT, "")
    for name in sorted([*learning, *further(LEARNING)]):
        yield from _module(read(name, learning.get(name)))
    yield from ("## Contract suites", "", _SUITES, "")
    for name, suites in testing.items():
        yield from (line for item in read(name, suites).items for line in _suite(item))
    yield from ("## Parts of the core", "", _PARTS, "")
    for plural, kind in KINDS.items():
        yield from _kind(plural, kind)


def _hooks(hookspecs: str, suites: set[str]) -> Iterator[str]:
    """What the module of the hooks says, and a row for each hook, with the suite of the kind that it registers."""
    from fedbench_core.cli.sources import read  # noqa: PLC0415  # as above
    from fedbench_core.registry import HOOKS  # noqa: PLC0415  # as above

    module = read(hookspecs, HOOKS.values())
    yield from (module.doc, "")
    by_name = {item.name: item for item in module.items}
    rows = []
    for kind, hook in HOOKS.items():
        suite = f"{kind.title().replace('_', '')}Contract"
        returns = by_name[hook].code.partition(" -> ")[2].replace('"', "")
        rows.append((f"`{hook}`", f"`{returns}`", by_name[hook].doc, f"`{suite}`" if suite in suites else ""))
    yield from _table(("hook", "returns", "what", "suite"), rows)


def _module(module: "Module") -> Iterator[str]:
    yield from (f"### `{module.name.removeprefix('fedbench_core.')}`", "", module.doc, "")
    for item in module.items:
        yield from _item(item, "####")


def _item(item: "Item", level: str) -> Iterator[str]:
    yield from (f"{level} `{item.name}`", "")
    if item.code != item.name:
        yield from ("```python", item.code, "```", "")
    if item.doc:
        yield from (item.doc, "")
    if item.members:
        yield from (*(_member(member) for member in item.members), "")


def _suite(suite: "Item") -> Iterator[str]:
    cases = [f"- `{case.name}`: {case.doc}" for case in suite.members if case.name.startswith("test_")]
    yield from (f"### `{suite.name}`", "", suite.doc, "", *cases, "")


def _member(member: "Item") -> str:
    yours = " *yours*" if member.asked else ""
    doc = " ".join(member.doc.split())
    return f"- `{member.code}`{yours}{': ' if doc else ''}{doc}"


def _kind(plural: str, kind: str) -> Iterator[str]:
    from fedbench_core.cli.catalog import described  # noqa: PLC0415  # as above
    from fedbench_core.registry import registry  # noqa: PLC0415  # as above

    entries = [described(kind, name) for name in registry().names(kind)]
    entries = [entry for entry in entries if entry["distribution"] == CORE]
    if not entries:
        return
    yield from (f"### {plural}", "")
    for entry in entries:
        yield from (f"#### `{entry['name']}`", "", entry["doc"], "")
        if entry["declares"]:
            yield from (", ".join(f"{word}: {words(told)}" for word, told in entry["declares"].items()), "")
        yield from _method(entry) if kind == "method" else _options(kind, entry["options"])


def _options(kind: str, options: Sequence[dict[str, Any]]) -> Iterator[str]:
    if options:
        rows = [(f"`{kind}.{name}`", *grid_points) for name, *grid_points in map(option_row, options)]
        yield from _table(OPTION_COLUMNS, rows)


def _method(entry: dict[str, Any]) -> Iterator[str]:
    rows = [(fact.replace("_", " "), words(entry[fact])) for fact in FACTS if entry[fact] != ""]
    for part, what in entry["parts"].items():
        options = ", ".join(f"{option['name']}={text(option['value'])}" for option in what["options"])
        rows.append((part.replace("_", " "), f"`{what['name']}`{f' ({options})' if options else ''}"))
    yield from _table(("fact", "value"), rows)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield _row(columns)
    yield _row(["---"] * len(columns))
    yield from map(_row, rows)
    yield ""


def _row(grid_points: Sequence[str]) -> str:
    return f"| {' | '.join(' '.join(grid_point.split()).replace('|', chr(92) + '|') for grid_point in grid_points)} |"
