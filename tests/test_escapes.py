"""Text in each format: whatever a record or a suite is called, it is shown as it is and does nothing."""

import ast
import csv as csv_files
import io
import re
import unicodedata
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from fedbench_core import escapes

EVIL = (
    "<script>alert(1)</script>",
    "[x](javascript:alert(1))",
    "![x](https://example.org/a.png)",
    "a|b",
    "two\nlines",
    "\n\n# heading",
    "\x1b[31mred\x1b[0m",
    "\x9b31m",
    "\u202eright to left",
    "=cmd|' /C calc'!A0",
    "@SUM(A1)",
    "+1",
    "-1",
    "https://example.org",
    "www.example.org",
    "a@example.org",
    "___a___",
    "`code`",
    "**bold**",
    "1. one",
    "- one",
    "    indented",
    "&lt;",
    "$\\frac{1}{2}$",
    "\\input{/etc/passwd}",
    "~~gone~~",
    "-->",
    "\ud800",
    "\\",
    "%",
    "~",
    "^",
    "[1cm]",
)
TEXT = st.lists(st.sampled_from(EVIL) | st.text(max_size=4), max_size=4).map("".join)
MARKDOWN = MarkdownIt("gfm-like")
MARKDOWN.linkify.set({"fuzzy_link": False})


def inline(source: str) -> list:
    """The inline tokens of a document of one block."""
    return [token for block in MARKDOWN.parse(source) for token in block.children or ()]


def shown(tokens) -> str:
    return "".join(token.content for token in tokens)


@given(TEXT)
def test_line_is_one_line_without_control_characters(text) -> None:
    found = escapes.line(text)
    assert len(found.splitlines()) <= 1
    assert not [sign for sign in found if unicodedata.category(sign) in {"Cc", "Cs", "Zl", "Zp"}]
    found.encode()
    assert escapes.line(found) == found


@given(TEXT.filter(str.strip))
def test_markdown_shows_text_as_it_is(text) -> None:
    plain = re.sub(r" +", " ", escapes.line(text).strip())
    for source in ("{}", "# {}", "- {}", "**lead**: {}", "![{}](a.svg)"):
        tokens = inline(source.format(escapes.markdown(text)))
        image = [token for token in tokens if token.type == "image"]
        inner = image[0].children if "![" in source and image else tokens
        kinds = {token.type for token in inner} - {"strong_open", "strong_close"}
        assert kinds <= {"text", "text_special"}, (source, kinds)
        assert plain in re.sub(r" +", " ", shown(inner)) or "lead" in source


@given(TEXT.filter(str.strip))
def test_markdown_cell_stays_one_cell(text) -> None:
    table = f"| a | b |\n|---|---|\n| {escapes.markdown(text)} | end |\n"
    cells = [block for block in MARKDOWN.parse(table) if block.type == "inline"]
    assert [cell.content for cell in cells[:2]] == ["a", "b"]
    assert len(cells) == 4
    assert {token.type for token in cells[2].children} <= {"text", "text_special"}
    assert cells[3].content == "end"


@given(TEXT.filter(str.strip))
def test_code_is_one_code_span(text) -> None:
    tokens = inline(f"Run {escapes.code(text)}.")
    assert [token.type for token in tokens] == ["text", "code_inline", "text"]


@given(TEXT)
def test_url_leads_to_a_file_of_that_name(text) -> None:
    text = text.encode("utf-8", "replace").decode()
    [link, *_] = inline(f"[a]({escapes.url(f'{text}.md')})")
    assert link.type == "link_open"
    assert not re.match(r"[a-z]+:", link.attrs["href"])


@given(TEXT)
@example("=1")
@example(" =1")
def test_csv_has_no_formula(text) -> None:
    sheet = io.StringIO()
    csv_files.writer(sheet).writerow([escapes.csv(text), "end"])
    [[cell, end]] = csv_files.reader(io.StringIO(sheet.getvalue()))
    assert end == "end"
    assert not cell.lstrip().startswith(("=", "+", "-", "@"))
    assert escapes.csv(-0.5) == -0.5


@given(TEXT)
def test_latex_has_no_command_but_those_of_signs(text) -> None:
    left = re.sub(r"\\text(backslash|asciitilde|asciicircum|less|greater|bar)\{\}|\{[\[\]*]\}", "", escapes.latex(text))
    left = re.sub(r"\$(\\pm|\\uparrow|\\downarrow|\^\\dagger)\$|\\[&%$#_{}]", "", left)
    assert not set(left) & set("\\{}$&#^_%~\n")


def test_only_one_module_of_the_command_line_prints_unescaped() -> None:
    """`echo` makes control characters visible; errors and notices are printed before anything heavy is imported."""
    allowed = {"output.py", "group.py", "notice.py"}
    for path in (Path(__file__).parents[1] / "fedbench_core" / "cli").glob("*.py"):
        if path.name not in allowed:
            calls = [
                ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
            ]
            assert not {"click.echo", "click.secho", "print"} & set(calls), path
