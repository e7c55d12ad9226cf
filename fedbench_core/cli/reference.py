"""`fedbench reference`."""

from collections.abc import Iterable, Iterator, Sequence

import click

from fedbench_core.cli.entries import EMPTY, METHOD_FIELDS, OPTION_COLUMNS, Entry, option_row, option_text
from fedbench_core.cli.list_ import KINDS
from fedbench_core.cli.output import echo, words
from fedbench_core.cli.sources import Item, code, doc, exported, is_required, load, members, unexported

API, LEARNING, TESTING = (f"fedbench_core.{package}" for package in ("api", "learning", "testing"))
CORE = "fedbench-core"

_HEAD = """# Reference

Every name that a plugin can use or must define. `fedbench reference` generates this page from the code. The
[tutorial](TUTORIAL.md) is the introduction.

- [Hooks](#hooks): how a plugin registers its parts.
- [The contract](#the-contract): the base classes of parts and their arguments, `fedbench_core.api`.
- [Building blocks](#building-blocks): training loops, losses, messages, `fedbench_core.learning`.
- [Contract suites](#contract-suites): the tests that every part must pass, `fedbench_core.testing`.
- [Parts of the core](#parts-of-the-core): the parts that come with fedbench, with all options.
"""
_CONTRACT = "A part must define the methods marked *required*; the other methods have a default."
_LEARNING = "Helpers for local updates and aggregators. Using them is optional."
_SUITES = 'Subclass a suite and set `name = "..."` to the name of your part; pytest then runs every case.'
_PARTS = "The same as `fedbench show NAME`. Set an option with `--set KIND.OPTION=VALUE`."


@click.command("reference")
@click.argument("page", type=click.Choice(["plugins", "suites"]), default="plugins")
def command(page: str) -> None:
    """Print the plugin API and every option of the core's parts, as Markdown.

    `fedbench reference suites` prints every key of a suite file instead.
    """
    from fedbench_core.cli.suite_reference import suite_reference  # noqa: PLC0415  # imports numpy: --help need not wait

    echo("\n".join(suite_reference() if page == "suites" else _lines()))


def _lines() -> Iterator[str]:
    api, learning, testing = (exported(package) for package in (API, LEARNING, TESTING))
    hookspecs = load(f"{API}.hookspecs")
    yield _HEAD
    yield from ("## Hooks", "", *_hooks(hookspecs, {suite for suites in testing.values() for suite in suites}))
    for item in members(hookspecs, api.pop(hookspecs.path)):
        yield from _item(item, "###")
    yield from ("## The contract", "", _CONTRACT, "")
    for name in sorted(api, key=lambda name: (not name.endswith(".parts"), name)):
        yield from _module(name, api[name])
    yield from ("## Building blocks", "", _LEARNING, "")
    for name in sorted([*learning, *unexported(LEARNING)]):
        yield from _module(name, learning.get(name))
    yield from ("## Contract suites", "", _SUITES, "")
    for name, suites in testing.items():
        yield from (line for item in members(load(name), suites) for line in _suite(item))
    yield from ("## Parts of the core", "", _PARTS, "")
    for plural, kind in KINDS.items():
        yield from _kind(plural, kind)


def _hooks(hookspecs: Item, suites: set[str]) -> Iterator[str]:
    """A row for each hook: the type it returns, its docstring, and the contract suite of the parts it registers."""
    from fedbench_core.registry import HOOKS  # noqa: PLC0415  # imports torch

    yield from (doc(hookspecs), "")
    by_name = {item.name: item for item in members(hookspecs)}
    rows = []
    for kind, hook in HOOKS.items():
        suite = f"{kind.title().replace('_', '')}Contract"
        returns = code(by_name[hook]).partition(" -> ")[2]
        rows.append((f"`{hook}`", f"`{returns}`", doc(by_name[hook]), f"`{suite}`" if suite in suites else ""))
    yield from _table(("hook", "returns", "description", "suite"), rows)


def _module(name: str, names: Sequence[str] | None) -> Iterator[str]:
    module = load(name)
    yield from (f"### `{name.removeprefix('fedbench_core.')}`", "", doc(module), "")
    for item in members(module, names):
        yield from _item(item, "####")


def _item(item: Item, level: str) -> Iterator[str]:
    yield from (f"{level} `{item.name}`", "")
    if code(item) != item.name:
        yield from ("```python", code(item), "```", "")
    if doc(item):
        yield from (doc(item), "")
    if item.is_class and list(members(item)):
        yield from (*(_member(member) for member in members(item)), "")


def _suite(suite: Item) -> Iterator[str]:
    cases = [f"- `{case.name}`: {doc(case)}" for case in members(suite) if case.name.startswith("test_")]
    yield from (f"### `{suite.name}`", "", doc(suite), "", *cases, "")


def _member(member: Item) -> str:
    required = " *required*" if is_required(member) else ""
    text = " ".join(doc(member).split())
    return f"- `{code(member)}`{required}{': ' if text else ''}{text}"


def _kind(plural: str, kind: str) -> Iterator[str]:
    from fedbench_core.cli.catalog import described  # noqa: PLC0415  # imports torch
    from fedbench_core.registry import registry  # noqa: PLC0415  # as above

    entries = [described(kind, name) for name in registry().names(kind)]
    entries = [entry for entry in entries if entry["distribution"] == CORE]
    if not entries:
        return
    yield from (f"### {plural}", "")
    for entry in entries:
        yield from (f"#### `{entry['name']}`", "", entry["doc"], "")
        if entry["declares"]:
            yield from (", ".join(f"{name}: {words(value)}" for name, value in entry["declares"].items()), "")
        yield from _method(entry) if kind == "method" else _options(kind, entry["options"])


def _options(kind: str, options: Sequence[Entry]) -> Iterator[str]:
    if options:
        yield from _table(OPTION_COLUMNS, [(f"`{kind}.{name}`", *rest) for name, *rest in map(option_row, options)])


def _method(entry: Entry) -> Iterator[str]:
    rows = [(field.replace("_", " "), words(entry[field])) for field in METHOD_FIELDS if entry[field] not in EMPTY]
    for kind, part in entry["parts"].items():
        options = ", ".join(f"{option['name']}={option_text(option['value'])}" for option in part["options"])
        rows.append((kind.replace("_", " "), f"`{part['name']}`{f' ({options})' if options else ''}"))
    yield from _table(("field", "value"), rows)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield _row(columns)
    yield _row(["---"] * len(columns))
    yield from map(_row, rows)
    yield ""


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in cells)} |"
