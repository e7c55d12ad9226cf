import json
from pathlib import Path

import click
import pytest

from fedbench_core.cli.output import print_json, print_table

LONG = "word " * 80 + "end"


def test_a_pipe_gets_whole_lines_without_frames_or_padding(capsys):
    print_table(("name", "n", "text"), [("a", 1, LONG), ("long-name", 200, "[red]x[/nonsense]"), ("c", 3, None)])
    out = capsys.readouterr().out
    assert out.splitlines() == [
        "name         n  text",
        f"a            1  {LONG}",
        "long-name  200  [red]x[/nonsense]",
        "c            3  -",
    ]


def test_a_terminal_folds_and_loses_nothing(capsys, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    print_table(("name", "text"), [("q" * 60, LONG)], title="Things")
    out = click.unstyle(capsys.readouterr().out)
    assert "Things" in out
    assert max(map(len, out.splitlines())) <= 40
    assert out.count("q") == 60
    assert out.count("word") == 80
    assert "…" not in out


def test_truth_and_lists_in_words(capsys):
    print_table(("a", "b"), [(True, ["x", "y"]), (False, ())])
    assert capsys.readouterr().out.splitlines() == ["a    b", "yes  x, y", "no"]


def test_json_holds_numbers_as_numbers_and_paths_as_text(capsys):
    print_json({"n": 0.1, "none": None, "path": Path("/x")})
    assert json.loads(capsys.readouterr().out) == {"n": 0.1, "none": None, "path": "/x"}
