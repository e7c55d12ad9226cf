"""What a page says, and that it says it in a table which a code host shows."""

import re

import pytest

from fedbench_core.leaderboard.budget import read_budget
from fedbench_core.leaderboard.index import index_page
from fedbench_core.leaderboard.leaderboard import build
from fedbench_core.leaderboard.markdown import page, pipe_table
from fedbench_core.leaderboard.sheets import Sheet
from fedbench_core.leaderboard.shelf import read_leaderboard
from fedbench_core.suites.filing import read_filed, records_of
from fedbench_core.suites.suite import read_suite


@pytest.fixture
def text(shelf) -> str:
    file = shelf.suite()
    shelf.fill(file)
    return page(read_leaderboard(file))


def tables(text: str) -> list[list[list[str]]]:
    """Every pipe table, as grid_points."""
    blocks = re.findall(r"(?:^\|.*\|$\n?)+", text, re.MULTILINE)
    return [[re.split(r"(?<!\\)\|", line)[1:-1] for line in block.splitlines()] for block in blocks]


def test_every_table_is_whole(text) -> None:
    assert len(tables(text)) == 4, "qualities, costs, origins, claimed differences"
    for table in tables(text):
        assert len({len(row) for row in table}) == 1
        assert all(re.fullmatch(r" -+:? ", grid_point) for grid_point in table[1])
        assert len({tuple(map(len, row)) for row in table}) == 1, "padded, so that it reads well as text"


def test_the_columns_are_those_of_a_leaderboard(text) -> None:
    heads = [grid_point.strip() for table in tables(text)[:3] for grid_point in table[0]]
    assert heads == [
        *("rank", "entry", "personalization ↑", "generalization ↑", "macro-AUC ↑", "balanced accuracy ↑"),
        *("worst client ↑", "ECE (pooled) ↓"),
        *("entry", "personalization, validated round", "MB up", "MB down", "MB peer", "GFLOPs", "seconds"),
        *("entry", "method", "plugin and version", "fidelity", "backbones"),
    ]


@pytest.mark.parametrize(
    "words",
    [
        "Does it help?",
        "No claim of a best entry.",
        "Population: 3 clients, who share 60 training images; each has",
        "24 validation and 30 test images",
        "5 seeds (0 to 4), the same for all entries",
        "of 10 pairs of entries are told apart",
        "a difference in personalization of about 0.",
        "A claim must hold against another draw of the test images as well",
        "No score was undefined",
        "Estimand: the score after the last round",
        "Holm's correction over all pairs",
        "papers quote 2R",
        "pooled before binning",
        "local, equal FLOPs (as many training FLOPs, nothing travels)",
        "25 records of the 25 runs that the suite asks for.",
        "`fedbench suite run leaderboards/suites/small.toml`, and `fedbench leaderboard small --write`",
    ],
)
def test_what_stands_under_a_table(words, text) -> None:
    assert words in text


def test_no_reconstruction_no_dagger(text) -> None:
    assert "†" not in text


def test_a_reconstruction_is_marked_and_the_mark_explained(shelf) -> None:
    def reconstruct(record, grid_point) -> None:
        if grid_point.entry == "fedavg":
            record["method"]["fidelity"] = "reconstruction"

    file = shelf.suite()
    shelf.fill(file, change=reconstruct)
    text = page(read_leaderboard(file))
    assert text.count("| fedavg † ") == 3
    assert "† Reconstruction: the method's paper leaves open" in text


def test_seeds_that_differ_are_told(shelf) -> None:
    file = shelf.suite()
    shelf.fill(file, lambda grid_point: None if grid_point.entry == "fedavg" and grid_point.seed in (1, 4) else 10)
    text = page(read_leaderboard(file))
    assert "**Seeds differ between entries**" in text
    assert "(0 to 4: local, “local, equal FLOPs”, centralized, fedavg-ft; 0, 2 to 3: fedavg): no paired test" in text
    assert "No score was undefined" in text, "a seed that was not run is not undefined"
    assert "23 records of the 25 runs that the suite asks for (2 are missing)." in text


def test_what_was_undefined_is_counted(shelf) -> None:
    def forget(record, grid_point) -> None:
        if grid_point.entry == "fedavg":
            record["test"]["undefined"] = {"personalization": 1}
            record["test"]["metrics"]["auc"] = None

    file = shelf.suite()
    shelf.fill(file, change=forget)
    text = page(read_leaderboard(file))
    assert "personalization of a client, 5 times; macro-AUC of a whole run, 5 times." in text
    assert re.search(r"\| fedavg +\|[^\n]*\| +– \|", text)


def test_other_versions_and_unofficial_images_are_told(shelf) -> None:
    def change(record, grid_point) -> None:
        record["data"]["official"] = False
        if grid_point.entry == "fedavg":
            record["versions"]["torch"] = "9.9"

    file = shelf.suite()
    shelf.fill(file, change=change)
    text = page(read_leaderboard(file))
    assert re.search(r"\*\*Versions differ between records\*\*: torch .*9\.9", text)
    assert "Not the published images of spots" in text


def test_what_a_budget_leaves_out_is_told(shelf) -> None:
    file = shelf.suite()
    shelf.fill(file)
    text = page(read_leaderboard(file, budgets=[read_budget("bytes=1MB")]))
    assert "Left out, beyond 1 MB per client and round: fedavg (1.50 MB); fedavg-ft (1.50 MB)." in text
    everything = page(read_leaderboard(file, budgets=[read_budget("seconds=0.1")]))
    assert "No entry is within the budget" in everything


def test_one_seed_has_no_interval_and_no_claim(shelf) -> None:
    file = shelf.suite(seeds=1)
    shelf.fill(file)
    text = page(read_leaderboard(file))
    assert "±" not in text.split("## How to read")[0]
    assert "10 without a test" in text


def test_signs_of_markdown_stay_what_they_are() -> None:
    text = pipe_table(Sheet(["a"], [["x|y"], ["*_`<b>"], ["test_resnet"]], frozenset({"a"})))
    assert r"x\|y" in text
    assert r"\*\_\`\<b>" in text
    assert "| test_resnet |" in text


def test_the_order_of_records_and_seeds_does_not_matter(shelf) -> None:
    file = shelf.suite()
    shelf.fill(file)
    suite, filed = read_suite(file), read_filed(records_of(file))
    assert page(build(suite, filed)) == page(build(suite, filed[::-1]))


def test_several_tables_are_told_apart_by_what_differs(shelf) -> None:
    file = shelf.suite(partitions=[{"name": "IID", "partitioner": "iid"}, {"name": "Dirichlet 0.3"}])
    shelf.fill(
        file,
        lambda grid_point: (
            28 - grid_point.seed % 2 if (grid_point.entry, grid_point.partition) == ("fedavg", "IID") else 9
        ),
    )
    leaderboard = read_leaderboard(file)
    text = page(leaderboard)
    assert "- IID: **fedavg** is better than every other entry (centralized aside)\n- Dirichlet 0.3: no claim" in text
    assert "## spots, IID, tiny" in text
    assert "IID: fedavg; Dirichlet 0.3: no claim" in index_page([(leaderboard.suite, leaderboard)])


def test_the_index_names_winners_or_no_claim(shelf) -> None:
    file = shelf.suite(question="Who wins?")
    shelf.fill(
        file, lambda grid_point: {"fedavg": 28, "centralized": 29}.get(grid_point.entry, 5) + grid_point.seed % 2
    )
    suite = read_suite(file)
    text = index_page([(suite, read_leaderboard(file)), (read_suite(shelf.suite("later")), None)])
    assert re.search(r"\| \[small\]\(small\.md\) +\| Who wins\? +\| fedavg +\| +25 \|", text)
    assert re.search(r"\| later +\| Does it help\? +\| not run yet +\| +0 \|", text)
