import csv
import io
import json
import re

import pytest

from fedbench_core.leaderboard.formats import FORMATTED
from fedbench_core.leaderboard.markdown import page
from fedbench_core.leaderboard.pages import read_leaderboard


@pytest.fixture
def leaderboard(suite_folder):
    file = suite_folder.suite()
    suite_folder.fill(file)
    return read_leaderboard(file)


def test_json_has_unrounded_numbers(leaderboard) -> None:
    value = json.loads(FORMATTED["json"](leaderboard))
    [table] = value["tables"]
    row = next(row for row in table["rows"] if row["entry"] == "fedavg")
    expected = next(row for row in leaderboard.tables[0].rows if row.entry == "fedavg")
    assert row["intervals"]["personalization"]["mean"] == expected.intervals["personalization"].mean
    assert row["rank"] == [2, 3]
    assert len(table["pairs"]) == 15
    assert (value["ranked_by"], value["over_datasets"]) == ("personalization", None)


def test_undefined_values_are_null_in_json_and_empty_in_csv(suite_folder) -> None:
    file = suite_folder.suite(seeds=1)
    suite_folder.fill(file)
    leaderboard = read_leaderboard(file)
    [table] = json.loads(FORMATTED["json"](leaderboard), parse_constant=pytest.fail)["tables"]
    assert {pair["p"] for pair in table["pairs"]} == {None}
    assert {line["auc_low"] for line in csv.DictReader(io.StringIO(FORMATTED["csv"](leaderboard)))} == {""}


def test_csv_has_a_line_for_each_row_with_unrounded_numbers(leaderboard) -> None:
    lines = list(csv.DictReader(io.StringIO(FORMATTED["csv"](leaderboard))))
    assert len(lines) == 6
    rows = {row.entry: row for row in leaderboard.tables[0].rows}
    for line in lines:
        assert float(line["auc_mean"]) == rows[line["entry"]].intervals["auc"].mean
        assert (line["dataset"], line["partition"], line["auc_seeds"]) == ("spots", "Dirichlet 0.3", "5")


def test_latex_is_escaped_and_balanced(leaderboard) -> None:
    text = FORMATTED["latex"](leaderboard)
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 3
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 3
    rows = re.findall(r"^.* & .*\\\\$", text, re.MULTILINE)
    assert [row.count(" & ") for row in rows] == [8] * 7 + [6] * 7 + [4] * 7
    assert r"$\pm$" in text
    assert not re.search(r"[^\x00-\x7f]", text), "only ASCII"
    assert not re.search(r"(?<!\\)[_#%](?! fedbench|\n)", text)


def test_markdown_is_the_page(leaderboard) -> None:
    assert FORMATTED["markdown"](leaderboard) == page(leaderboard)
