import json
from pathlib import Path

import click
import pytest

from fedbench_core.cli.output import print_json, print_table

LONG = "word " * 80 + "end"


@pytest.fixture
def terminal(capsys, monkeypatch: pytest.MonkeyPatch):
    """Print a table on a terminal of some columns; gives its lines."""

    def show(width: int, columns, rows) -> list[str]:
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)
        monkeypatch.setenv("COLUMNS", str(width))
        print_table(columns, rows)
        return click.unstyle(capsys.readouterr().out).splitlines()

    return show


def test_pipe_gets_whole_lines_without_frames_or_padding(capsys) -> None:
    print_table(("name", "n", "text"), [("a", 1, LONG), ("long-name", 200, "[red]x[/nonsense]"), ("c", 3, None)])
    out = capsys.readouterr().out
    assert out.splitlines() == [
        "name         n  text",
        f"a            1  {LONG}",
        "long-name  200  [red]x[/nonsense]",
        "c            3  -",
    ]


def test_cells_wrap_between_words(terminal) -> None:
    option, accepts = "local_update.batch_weight", "one of resident, visitor, none"
    lines = terminal(80, ("option", "value", "accepts", "meaning"), [(option, "average", accepts, LONG)])
    text = " ".join(lines).split()
    assert max(map(len, lines)) <= 80
    assert {option, "average", "resident,", "visitor,"} <= set(text)
    assert text.count("word") == 80


def test_columns_that_do_not_fit_continue_below_and_repeat_the_names_of_rows(terminal) -> None:
    words = [f"adenocarcinoma-{n}" for n in range(6)]
    lines = terminal(60, ("client", *words), [(client, *range(100, 106)) for client in (7, 8)])
    assert max(map(len, lines)) <= 60
    assert [[word for word in words if word in line] for line in lines if "client" in line] == [words[:3], words[3:]]
    assert [line.split() for line in lines if line.strip().startswith("7")] == [
        ["7", "100", "101", "102"],
        ["7", "103", "104", "105"],
    ]


def test_word_wider_than_the_terminal_is_not_truncated(terminal) -> None:
    out = "\n".join(terminal(40, ("name", "text"), [("q" * 60, LONG)]))
    assert max(map(len, out.splitlines())) <= 40
    assert (out.count("q"), out.count("word")) == (60, 80)
    assert "…" not in out


def test_values_are_printed_as_text(capsys) -> None:
    print_table(("a", "b"), [(True, ["x", "y"]), (False, ()), (None, {"momentum": 0.0})])
    assert capsys.readouterr().out.splitlines() == ["a    b", "yes  x, y", "no", "-    momentum=0.0"]


def test_json_has_numbers_as_numbers_and_paths_as_text(capsys) -> None:
    print_json({"n": 0.1, "none": None, "path": Path("/x")})
    assert json.loads(capsys.readouterr().out) == {"n": 0.1, "none": None, "path": "/x"}
