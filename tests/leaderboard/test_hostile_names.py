"""Names that mean something to Markdown, a spreadsheet, LaTeX or a terminal, in strings of a suite and its records."""

import csv
import io
import json
import re
import unicodedata
from collections import Counter
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt

from fedbench_core.leaderboard.formats import to_csv, to_json, to_latex
from fedbench_core.leaderboard.pages import read_leaderboard, render, write
from fedbench_core.report.write import write_report
from fedbench_core.suites.filed_records import records_folder


class Seen(HTMLParser):
    """The elements, attributes and texts of a page, and its data."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.attributes, self.texts, self.data, self.inside = Counter(), set(), [], "", False
        self.feed(text)

    def handle_starttag(self, tag, attrs) -> None:
        self.tags[tag] += 1
        self.attributes |= {name for name, _ in attrs}
        self.inside = ("id", "data") in attrs

    def handle_data(self, data) -> None:
        if self.inside:
            self.data, self.inside = data, False
        else:
            self.texts.append(data)


EVIL = "<script>|[x](javascript:y)\n# `c` **b** $\\a$ \x1b[31m\x9b\u202e"
FORMULA = "=cmd|'/C calc'!A0"
TERMINAL = {"Cc", "Zl", "Zp", "Cs"}


@pytest.fixture(scope="module")
def hostile(suite_folders, tmp_path_factory):
    """A suite in whose files every string that may be free text is hostile."""
    suite_folder = suite_folders(tmp_path_factory.mktemp("hostile"))
    entries = [
        {**entry, "name": f"{prefix}{entry['name']}"}
        for prefix, entry in zip((FORMULA, EVIL, "", "-", "+", "@"), suite_folder.entries, strict=True)
    ]
    names = {old["name"]: new["name"] for old, new in zip(suite_folder.entries, entries, strict=True)}
    baselines = {kind: names[entry] for kind, entry in suite_folder.baselines.items()}
    file = suite_folder.suite(
        question=f"{EVIL}{FORMULA}",
        datasets=[f"{FORMULA}{EVIL}"],
        partitions=[{"name": EVIL}],
        entries=entries,
        baselines=baselines,
        seeds=2,
    )

    def spoil(record, grid_point) -> None:
        record["versions"] |= {f"{EVIL}": f"{FORMULA}{EVIL}{grid_point.seed}"}
        record["data"] |= {"name": EVIL, "classes": [f"{EVIL}{number}" for number in range(3)]}
        record["method"] |= {"paper": EVIL, "summary": EVIL, "fidelity": EVIL}
        record["notes"] = [EVIL]
        record["test"]["undefined"] = {EVIL: 1}

    counts = {new: suite_folder.correct[old][0] for old, new in names.items()}
    paths = suite_folder.fill(file, lambda point: counts[point.entry] + point.seed, change=spoil)
    (paths[0].parent / "verified").mkdir()
    paths[0].rename(paths[0].with_name("<b>|[x](javascript:y).json"))
    paths[1].write_text("{")
    paths[1].rename(paths[1].with_name("<i>`|[x](javascript:y).json"))
    return suite_folder.folder, file


def test_page_has_no_html_link_or_emphasis_of_a_name(hostile) -> None:
    folder, _ = hostile
    rendered = render(folder)
    write(rendered)  # the figures can be drawn, too
    for text in rendered.pages.values():
        assert not [sign for sign in text if unicodedata.category(sign) in TERMINAL - {"Cc"}]
        tokens = MarkdownIt("gfm-like").parse(text)
        inline = [token for block in tokens for token in block.children or ()]
        html = [token.content for token in (*tokens, *inline) if token.type.startswith("html")]
        assert all(re.match(r"</?details>|<details><summary>Sig|<!-- Generated", block) for block in html), html
        links = {
            token.attrs.get("href") or token.attrs.get("src")
            for token in inline
            if token.type in ("link_open", "image")
        }
        assert all(re.fullmatch(r"[\w./-]+", link) for link in links), links
        assert [token.tag for token in tokens if token.type == "heading_open"].count("h1") == 1
        rows = [block.content for block in tokens if block.type == "inline"]
        assert not any("javascript" in token.content for token in inline if token.type == "code_inline")
        assert any("script" in row for row in rows)


def test_formats_are_read_as_they_were_meant(hostile) -> None:
    leaderboard = read_leaderboard(hostile[1])
    sheet = list(csv.reader(io.StringIO(to_csv(leaderboard))))
    assert {len(row) for row in sheet} == {len(sheet[0])}
    assert len(sheet) == 7
    assert not [cell for row in sheet for cell in row if re.match(r"\s*[=@+]|\s*-\D", cell)]
    assert "\x9b" not in to_latex(leaderboard) + to_csv(leaderboard)
    assert not re.search(r"\\(a|input)\b", to_latex(leaderboard))
    assert "\x1b" not in to_json(leaderboard)


def test_terminal_is_not_steered(hostile) -> None:
    from click.testing import CliRunner  # noqa: PLC0415  # torch: seconds that other tests do not need

    from fedbench_core.cli import fedbench  # noqa: PLC0415  # as above

    for arguments in (["small"], [], ["small", "--json"], ["--json"], ["small", "--format", "csv"], ["--check"]):
        done = CliRunner().invoke(fedbench, ["leaderboard", *arguments, "--folder", str(hostile[0])])
        shown = (done.stdout + done.stderr).replace("\n", "")
        assert not [sign for sign in shown if unicodedata.category(sign) in TERMINAL], arguments
        assert "\u202e" not in shown


def test_report_has_no_element_attribute_or_script_of_a_name(hostile, tmp_path) -> None:
    folder, _ = hostile
    record = next(path for path in records_folder(folder / "suites/small.toml").glob("*.json") if "<" not in path.name)
    write_report(("small", str(record)), folder, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not [sign for sign in text if unicodedata.category(sign) in TERMINAL and sign not in "\n\t"]
    seen = Seen(text)
    assert seen.tags["script"] == 3  # the data, the library and the script of the report
    assert seen.tags["a"] == 2  # to the suite and to the run
    assert not seen.tags.keys() & {"img", "b", "iframe"}
    assert not {name for name in seen.attributes if name.startswith("on")} - {"onsubmit"}
    assert EVIL.splitlines()[0] in "".join(seen.texts)
    copied = [text for part in json.loads(seen.data)["copies"]["s0-0"]["CSV"] for text in _texts(part)]
    assert "".join(copied) == to_csv(read_leaderboard(folder / "suites" / "small.toml"))


def _texts(part) -> list[str]:
    """The texts of a part of a copied table."""
    return [part["head"], *part["rows"], part["tail"]]
