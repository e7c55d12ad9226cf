import re
from pathlib import Path

import pytest

import fedbench_core.api
import fedbench_core.learning
import fedbench_core.testing
from fedbench_core.cli.list_ import KINDS
from fedbench_core.registry import HOOKS, registry

PLUGINS = Path(__file__).parents[2] / "plugins"
REFERENCE = (PLUGINS / "REFERENCE.md").read_text(encoding="utf-8")
HEADINGS = re.findall(r"^#+ (.*)$", REFERENCE, re.MULTILINE)
CORE = "fedbench-core"


def _grid_points(line: str) -> list[str]:
    return [grid_point.strip().replace("\\|", "|") for grid_point in re.split(r"(?<!\\)\|", line.strip("|"))]


def _section(title: str, text: str = REFERENCE) -> str:
    """What stands under a heading, to the next of its level or above."""
    level = re.search(rf"^(#+) {re.escape(title)}$", text, re.MULTILINE)
    assert level is not None, f"no heading {title!r}"
    return re.split(rf"^#{{1,{len(level[1])}}} ", text[level.end() :], maxsplit=1, flags=re.MULTILINE)[0]


CORE_PARTS = [
    (plural, kind, name)
    for plural, kind in KINDS.items()
    for name in registry().names(kind)
    if registry().describe(kind, name).distribution == CORE
]


def test_it_is_what_the_code_says(cli) -> None:
    result = cli("reference")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == REFERENCE, (
        "plugins/REFERENCE.md is not what the code says: fedbench reference > plugins/REFERENCE.md"
    )


@pytest.mark.usefixtures("plugin")
def test_it_does_not_depend_on_what_else_is_installed(cli) -> None:
    assert cli("reference").stdout == REFERENCE


@pytest.mark.parametrize("package", [fedbench_core.api, fedbench_core.learning, fedbench_core.testing])
def test_every_public_name_is_there(package) -> None:
    missing = [name for name in package.__all__ if f"`{name}`" not in HEADINGS]
    assert not missing


def test_every_hook_is_there() -> None:
    rows = [_grid_points(line) for line in _section("What a plugin adds").splitlines() if line.startswith("|")]
    assert [row[0] for row in rows[2:]] == [f"`{hook}`" for hook in HOOKS.values()]
    suites = {row[3].strip("`") for row in rows[2:]} - {""}
    assert suites == set(fedbench_core.testing.__all__)


def test_every_protocol_says_what_is_to_be_written() -> None:
    for protocol, methods in {
        "LocalUpdate": ["update", "predictors"],
        "Compressor": ["encode", "decode"],
        "Aggregator": ["open"],
        "Accumulator": ["add", "close"],
        "Topology": ["home", "plan"],
        "Partitioner": ["split"],
        "Dataset": ["load"],
    }.items():
        assert re.findall(r"^- `(\w+)\(.*` \*yours\*", _section(f"`{protocol}`"), re.MULTILINE) == methods


@pytest.mark.parametrize(("plural", "kind", "name"), CORE_PARTS, ids=lambda value: value)
def test_it_agrees_with_show(plural, kind, name, cli, cli_json) -> None:
    [entry] = [entry for entry in cli_json("show", name) if entry["kind"] == kind]
    section = _section(f"`{name}`", _section(plural))
    assert entry["doc"] in section
    for word in entry["declares"]:
        [told] = re.findall(rf"\b{word}: (\w+)", section)
        assert f"\n{word}: {told}\n" in cli("show", name).stdout
    rows = [_grid_points(line) for line in section.splitlines() if line.startswith("|")][2:]
    text = cli("show", name).stdout
    if kind == "method":
        facts = dict(rows)
        assert facts["fidelity"] == entry["fidelity"]
        for part, what in entry["parts"].items():
            assert facts[part.replace("_", " ")].startswith(f"`{what['name']}`")
            assert all(f"{option['name']}=" in facts[part.replace("_", " ")] for option in what["options"])
        return
    assert [row[0] for row in rows] == [f"`{kind}.{option['name']}`" for option in entry["options"]]
    for row, option in zip(rows, entry["options"], strict=True):
        assert row[2:] == [option["accepts"], option["description"]]
        assert " ".join([option["name"], *row[1:]]).strip() in [" ".join(line.split()) for line in text.splitlines()]


@pytest.mark.parametrize("page", ["plugins/REFERENCE.md", "plugins/TUTORIAL.md", "CONTRIBUTING.md", "README.md"])
def test_links_lead_somewhere(page) -> None:
    path = PLUGINS.parent / page
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", path.read_text(encoding="utf-8")):
        file, _, anchor = target.partition("#")
        there = path if not file else path.parent / file
        assert there.exists(), f"{page} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", there.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings]
