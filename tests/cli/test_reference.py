import re
from pathlib import Path

import pytest
from click.testing import CliRunner

import fedbench_core.api
import fedbench_core.learning
import fedbench_core.testing
from fedbench_core.cli import fedbench
from fedbench_core.cli.entries import option_row
from fedbench_core.cli.list_ import KINDS
from fedbench_core.cli.output import words
from fedbench_core.federation.spec import RunSpec
from fedbench_core.registry import HOOKS, registry
from fedbench_core.suites.files import read_suite
from fedbench_core.suites.suite import Suite
from fedbench_core.suites.tables import Baselines, Tuning

PLUGINS = Path(__file__).parents[2] / "plugins"
CORE = "fedbench-core"


@pytest.fixture(scope="module")
def reference() -> str:
    """The page as the code makes it."""
    result = CliRunner().invoke(fedbench, ["reference"])
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def _headings(text: str) -> list[str]:
    return re.findall(r"^#+ (.*)$", text, re.MULTILINE)


def _rows(text: str) -> list[list[str]]:
    """The cells of the Markdown tables in a text, without their headings."""
    lines = [re.split(r"(?<!\\)\|", line.strip("|")) for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip().replace("\\|", "|") for cell in line] for line in lines][2:]


def _section(title: str, text: str) -> str:
    """The text under a heading, up to the next heading of its level or above."""
    level = re.search(rf"^(#+) {re.escape(title)}$", text, re.MULTILINE)
    assert level is not None, f"no heading {title!r}"
    return re.split(rf"^#{{1,{len(level[1])}}} ", text[level.end() :], maxsplit=1, flags=re.MULTILINE)[0]


CORE_PARTS = [
    (plural, kind, name)
    for plural, kind in KINDS.items()
    for name in registry().names(kind)
    if registry().describe(kind, name).distribution == CORE
]


def test_page_is_up_to_date(reference) -> None:
    page = (PLUGINS / "REFERENCE.md").read_text(encoding="utf-8")
    assert page == reference, "plugins/REFERENCE.md is out of date: fedbench reference > plugins/REFERENCE.md"


def test_page_of_suite_files_is_up_to_date_and_its_example_is_one(cli, tmp_path) -> None:
    result = cli("reference", "suites")
    page = PLUGINS.parent / "leaderboards" / "suites" / "README.md"
    assert page.read_text(encoding="utf-8") == result.stdout, f"fedbench reference suites > {page}"
    file = tmp_path / "mine.toml"
    file.write_text(re.findall(r"```toml\n(.*?)```", result.stdout, re.DOTALL)[0])
    assert [point.entry for point in read_suite(file).grid_points()] == ["local", "centralized"] * 3
    keys = set(re.findall(r"^\| `(\w+)` \|", result.stdout, re.MULTILINE))
    assert keys == {*Suite.model_fields, *Baselines.model_fields, *Tuning.model_fields, *RunSpec.model_fields} - {
        "dataset",
        "seed",
    }


def test_page_does_not_depend_on_other_plugins(cli, reference, distribution) -> None:
    source = "from fedbench_core.api import hookimpl\nfrom fedbench_core.parts.compressors import Dense\n"
    source += "@hookimpl\ndef fedbench_register_compressors(): return {'t-other': Dense}"
    distribution("fedbench-other", source)
    assert "t-other" in cli("list", "compressors").stdout
    assert cli("reference").stdout == reference


@pytest.mark.parametrize("package", [fedbench_core.api, fedbench_core.learning, fedbench_core.testing])
def test_public_names_have_headings(package, reference) -> None:
    missing = {f"`{name}`" for name in package.__all__} - set(_headings(reference))
    assert not missing


def test_hooks_are_listed_with_their_suites(reference) -> None:
    rows = _rows(_section("Hooks", reference))
    assert [row[0] for row in rows] == [f"`{hook}`" for hook in HOOKS.values()]
    assert {row[3].strip("`") for row in rows} - {""} == set(fedbench_core.testing.__all__)


@pytest.mark.parametrize(
    ("protocol", "methods"),
    [
        ("LocalUpdate", ["train"]),
        ("Compressor", ["encode", "decode"]),
        ("Aggregator", ["start"]),
        ("Accumulator", ["add", "result"]),
        ("Topology", ["receives_from", "plan"]),
        ("Partitioner", ["split"]),
        ("Dataset", ["load"]),
    ],
)
def test_methods_that_a_part_must_define_are_marked(protocol, methods, reference) -> None:
    section = _section(f"`{protocol}`", reference)
    assert re.findall(r"^- `(\w+)\(.*` \*required\*", section, re.MULTILINE) == methods


@pytest.mark.parametrize(("plural", "kind", "name"), CORE_PARTS, ids=lambda value: value)
def test_part_is_described_as_by_show(plural, kind, name, cli_json, reference) -> None:
    [entry] = [entry for entry in cli_json("show", name) if entry["kind"] == kind]
    section = _section(f"`{name}`", _section(plural, reference))
    assert entry["doc"] in section
    for field, value in entry["declares"].items():
        assert re.findall(rf"\b{field}: (\w+)", section) == [words(value)]
    rows = _rows(section)
    if kind == "method":
        fields = dict(rows)
        assert fields["fidelity"] == entry["fidelity"]
        for part, chosen in entry["parts"].items():
            assert fields[part.replace("_", " ")].startswith(f"`{chosen['name']}`")
            assert all(f"{option['name']}=" in fields[part.replace("_", " ")] for option in chosen["options"])
        return
    expected = [[f"`{kind}.{option['name']}`", *option_row(option)[1:]] for option in entry["options"]]
    assert rows == expected


@pytest.mark.parametrize("page", ["plugins/REFERENCE.md", "plugins/TUTORIAL.md", "CONTRIBUTING.md", "README.md"])
def test_links_have_targets(page) -> None:
    path = PLUGINS.parent / page
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", path.read_text(encoding="utf-8")):
        file, _, anchor = target.partition("#")
        there = path if not file else path.parent / file
        assert there.exists(), f"{page} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", there.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings]
