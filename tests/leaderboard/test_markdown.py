"""Pages: their tables, outcomes and footnotes."""

import re
from dataclasses import replace

import numpy as np
import pytest

from fedbench_core.federation.bits import text_of_bits
from fedbench_core.leaderboard.budget import read_budget
from fedbench_core.leaderboard.index import index_page
from fedbench_core.leaderboard.leaderboard import build_leaderboard
from fedbench_core.leaderboard.markdown import page, pipe_table
from fedbench_core.leaderboard.pages import read_leaderboard
from fedbench_core.leaderboard.text_tables import TextTable
from fedbench_core.suites.filed_records import read_folder, records_folder
from fedbench_core.suites.files import read_suite


@pytest.fixture
def text(suite_folder) -> str:
    file = suite_folder.suite()
    suite_folder.fill(file)
    return page(read_leaderboard(file))


def tables(text: str) -> list[list[list[str]]]:
    """All pipe tables as lists of cells."""
    blocks = re.findall(r"(?:^\|.*\|$\n?)+", text, re.MULTILINE)
    return [[re.split(r"(?<!\\)\|", line)[1:-1] for line in block.splitlines()] for block in blocks]


def test_tables_are_rectangular_and_padded(text) -> None:
    assert len(tables(text)) == 5, "scores, costs, origins, models, significant differences"
    for table in tables(text):
        assert len({len(row) for row in table}) == 1
        assert all(re.fullmatch(r":-+|-+:", cell) for cell in table[1])
        assert len({tuple(map(len, row)) for row in table}) == 1, "padded"


def test_tables_have_the_columns_of_a_leaderboard(text) -> None:
    assert [cell.strip() for table in tables(text)[:3] for cell in table[0]] == [
        *("rank", "entry", "personalization ↑", "generalization ↑", "macro-AUC ↑", "balanced accuracy ↑"),
        *("worst client ↑", "ECE (pooled) ↓", "clients hurt ↓"),
        *("entry", "personalization, best validation round", "MB up", "MB down", "MB peer", "GFLOPs", "seconds"),
        *("entry", "method", "plugin and version", "fidelity", "backbones"),
    ]


def test_models_of_an_entry_that_has_several_are_shown_with_the_ranked_one_first(suite_folder) -> None:
    file = suite_folder.suite()
    suite_folder.fill(file, change=_worse_global_model)
    own, shared = (list(map(str.strip, row)) for row in tables(page(read_leaderboard(file)))[3][2:])
    score = next(row for row in tables(page(read_leaderboard(file)))[0] if row[1].strip() == "fedavg-ft")[2].strip()
    assert own == ["fedavg-ft", "tuned (ranked)", score]
    assert shared == ["fedavg-ft", "global", "0.100"]


def _worse_global_model(record, point) -> None:
    if point.entry == "fedavg-ft":
        images = record["data"]["images"]["test"]
        record["test"]["role"], roles = "tuned", record["test"]["roles"]["global"]
        roles["correct"] = [text_of_bits(np.packbits(np.arange(images) < images // 10)) for _ in roles["correct"]]


@pytest.mark.parametrize(
    "words",
    [
        "Does it help?",
        "No significant winner.",
        "3 clients with 60 training images in total",
        "24 validation and 30 test images",
        "5 seeds (0 to 4), the same for all entries",
        "of 15 pairs of entries differ significantly",
        "Minimum detectable difference in personalization (power 80%): 0.",
        "The tests include the sampling of test images.",
        "No undefined scores",
        "after the last round",
        "Holm's correction over all pairs",
        "after the last round counts where the scored model is made from it",
        "pooled over clients before binning",
        "local, equal FLOPs (local training with as many FLOPs as the costliest entry)",
        "30 of 30 runs recorded.",
        "`fedbench suite run leaderboards/suites/small.toml`, and `fedbench leaderboard small --write`",
    ],
)
def test_page_has_outcome_and_footnotes(words, text) -> None:
    assert words in text


def test_dagger_is_absent_without_a_reconstruction(text) -> None:
    assert "†" not in text


def test_reconstruction_is_marked_and_the_mark_is_explained(suite_folder) -> None:
    def reconstruct(record, grid_point) -> None:
        if grid_point.entry == "fedavg":
            record["method"]["fidelity"] = "reconstruction"

    file = suite_folder.suite()
    suite_folder.fill(file, change=reconstruct)
    text = page(read_leaderboard(file))
    assert text.count("| fedavg † ") == 3
    assert "- † Reconstruction: " in text


def test_seeds_that_differ_between_entries_are_listed(suite_folder) -> None:
    file = suite_folder.suite()
    suite_folder.fill(
        file, lambda grid_point: None if grid_point.entry == "fedavg" and grid_point.seed in (1, 4) else 10
    )
    text = page(read_leaderboard(file))
    assert "**Seeds differ between entries**" in text
    assert "(0 to 4: majority, local, “local, equal FLOPs”, centralized, fedavg-ft; 0, 2 to 3: fedavg)" in text
    assert "No undefined scores" in text, "a seed without a record is not an undefined score"
    assert "28 of 30 runs recorded (2 missing)." in text


def test_undefined_scores_are_counted(suite_folder) -> None:
    def forget(record, grid_point) -> None:
        if grid_point.entry == "fedavg":
            record["test"]["undefined"] = {"auc": 1}
            record["test"]["metrics"]["auc"] = None
            del record["test"]["auc_images"]

    file = suite_folder.suite()
    suite_folder.fill(file, change=forget)
    text = page(read_leaderboard(file))
    assert "macro-AUC of a client, 5 times; macro-AUC of a whole run, 5 times." in text
    assert re.search(r"\| fedavg +\|[^\n]*\| +– \|", text)


def test_versions_that_differ_and_unpublished_images_are_noted(suite_folder) -> None:
    def change(record, grid_point) -> None:
        record["data"]["official"] = False
        if grid_point.entry == "fedavg":
            record["versions"]["torch"] = "9.9"

    file = suite_folder.suite()
    suite_folder.fill(file, change=change)
    text = page(read_leaderboard(file))
    assert re.search(r"\*\*Versions differ between records\*\*: torch .*9\.9", text)
    assert "Not a published dataset: the images of spots" in text


def test_entries_beyond_a_budget_are_listed_with_their_cost(suite_folder) -> None:
    file = suite_folder.suite()
    suite_folder.fill(file)
    text = page(read_leaderboard(file, budgets=[read_budget("bytes=1MB")]))
    assert "1 MB per client and round: fedavg (1.50 MB); fedavg-ft (1.50 MB)." in text
    everything = page(read_leaderboard(file, budgets=[read_budget("seconds=0.1")]))
    assert "No entry is within the budget" in everything


def test_single_seed_has_no_interval_and_no_test(suite_folder) -> None:
    file = suite_folder.suite(seeds=1)
    suite_folder.fill(file)
    text = page(read_leaderboard(file))
    assert "±" not in text.split("## Reading guide")[0]
    assert "15 not tested" in text


def test_markdown_characters_in_cells_are_escaped() -> None:
    text = pipe_table(TextTable(["a"], [["x|y"], ["*_`<b>"], ["test_resnet"]], frozenset({"a"})))
    assert r"x\|y" in text
    assert r"\*\_\`\<b\>" in text
    assert "| test_resnet |" in text


def test_numbers_in_cells_are_not_reformatted() -> None:
    assert {"0.50", "1e3"} <= set(pipe_table(TextTable(["a"], [["0.50"], ["1e3"]], frozenset())).split())


def test_order_of_records_does_not_matter(suite_folder) -> None:
    file = suite_folder.suite()
    suite_folder.fill(file)
    suite, filed = read_suite(file), read_folder(records_folder(file))
    reverse = replace(filed, by_key=dict(reversed(filed.by_key.items())))
    assert page(build_leaderboard(suite, filed)) == page(build_leaderboard(suite, reverse))


def test_outcomes_of_several_tables_are_labelled_by_what_differs(suite_folder) -> None:
    file = suite_folder.suite(partitions=[{"name": "IID", "partitioner": "iid"}, {"name": "Dirichlet 0.3"}])
    suite_folder.fill(
        file,
        lambda grid_point: (
            28 - grid_point.seed % 2 if (grid_point.entry, grid_point.partition) == ("fedavg", "IID") else 9
        ),
    )
    leaderboard = read_leaderboard(file)
    text = page(leaderboard)
    assert re.search(r"IID:\n\n- \*\*fedavg\*\* .*centralized.*\n- .*class: fedavg\.", text)
    lines = (
        r"Dirichlet 0\.3:\n",
        r"- No significant winner\.",
        r"- No entry \(not counting .*: majority \(.*; 0 MB\); .*\.",
    )
    first = "".join(f"{line}\n" for line in lines)
    assert re.search(rf"{first}- .*class: none\.\n- .*FLOPs as .*: none\.", text)
    assert "## spots, IID, tiny" in text
    assert "IID: fedavg; Dirichlet 0.3: no significant winner" in index_page([(leaderboard.suite, leaderboard)])


def test_table_without_baselines_is_called_not_ranked_beside_others(suite_folder) -> None:
    file = suite_folder.suite(partitions=[{"name": "IID", "partitioner": "iid"}, {"name": "Dirichlet 0.3"}])
    suite_folder.fill(file, lambda point: None if (point.entry, point.partition) == ("majority", "IID") else 9)
    leaderboard = read_leaderboard(file)
    assert re.search(r"IID:\n\n- \*\*Not ranked\*\*.*\n\nDirichlet 0\.3:\n\n- No significant", page(leaderboard))
    index = index_page([(leaderboard.suite, leaderboard)])
    assert "IID: not ranked: baselines are missing; Dirichlet 0.3: no significant winner" in index


def test_index_has_the_winner_and_the_number_of_records(suite_folder) -> None:
    file = suite_folder.suite(question="Who wins?")
    suite_folder.fill(
        file, lambda grid_point: {"fedavg": 28, "centralized": 29}.get(grid_point.entry, 5) + grid_point.seed % 2
    )
    suite = read_suite(file)
    text = index_page([(suite, read_leaderboard(file)), (read_suite(suite_folder.suite("later")), None)])
    assert re.search(r"\| \[small\]\(small\.md\) +\| Who wins\? +\| fedavg +\| +30 \|", text)
    assert re.search(r"\| later +\| Does it help\? +\| not run yet +\| +0 \|", text)


def test_page_names_the_entries_that_none_is_significantly_better_than_and_the_cheapest(suite_folder) -> None:
    def saves(record, grid_point) -> None:
        record["costs"]["bytes_down"] -= 1_000_000 * (grid_point.entry == "fedavg-ft")

    file = suite_folder.suite()
    suite_folder.fill(file, lambda grid_point: 20 + grid_point.seed % 2 if "fed" in grid_point.entry else 9, saves)
    text = page(read_leaderboard(file))
    [names] = re.findall(
        r"No entry \(not counting centralized\) is significantly better than these \(.*\): (.*)\.\n", text
    )
    assert re.findall(r"[\w-]+(?= \()", names) == ["fedavg", "fedavg-ft"]
    assert names.endswith("Of these, fedavg-ft sends the least")
