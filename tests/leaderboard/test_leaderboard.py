"""What a leaderboard claims, of which numbers, and when there is none."""

import json
import math
import re
from contextlib import nullcontext

import pytest

from fedbench_core.api import RequestError, RunError
from fedbench_core.leaderboard.budget import read_budget
from fedbench_core.leaderboard.footnotes import under_table
from fedbench_core.leaderboard.shelf import read_leaderboard
from fedbench_core.suites.filing import read_filed, records_of


def rows(file, **how) -> dict:
    return {row.entry: row for row in read_leaderboard(file, **how).tables[0].rows}


def of(file, entry) -> list[dict]:
    return [record for record in read_filed(records_of(file)) if record["grid_point"]["entry"] == entry]


def test_entries_are_ranked_as_far_as_the_tests_tell(shelf) -> None:
    """Within a pair of neighbors one image differs, which no other draw of images upholds; between them, many do."""
    file = shelf.suite()
    shelf.fill(file)
    leaderboard = read_leaderboard(file)
    assert {row.entry: row.rank for row in leaderboard.tables[0].rows} == {
        "centralized": (1, 1),
        "fedavg-ft": (2, 3),
        "fedavg": (2, 3),
        "local, equal FLOPs": (4, 5),
        "local": (4, 5),
    }
    assert leaderboard.tables[0].winner() == "centralized"
    assert leaderboard.winners[0][1] is None, "of those that a federation can use, none is told apart"


def test_what_only_the_seeds_show_is_not_claimed(shelf) -> None:
    """Without the images, a difference of one image in every seed would do: it is below any noise of seeds."""
    file = shelf.suite(seeds=12)
    shelf.fill(
        file,
        lambda grid_point: (
            {"local": 9, "fedavg": 11}.get(grid_point.entry, 10)
            + (grid_point.seed % 3 if grid_point.entry == "centralized" else grid_point.seed % 2)
        ),
    )
    table = read_leaderboard(file).tables[0]
    assert table.image_check
    assert not any(pair.significant for pair in table.pairs)
    assert any(pair.p_holm < 0.05 for pair in table.pairs)
    assert {row.rank for row in table.rows} == {(1, 5)}
    assert "more by seeds alone, which another draw of test images could undo" in " ".join(under_table(table))


def test_images_that_each_seed_deals_otherwise_are_no_check_and_that_is_told(shelf) -> None:
    """As where every client is tested on images of its own."""

    def deal(record, grid_point) -> None:
        groups = record["test"]["groups"]
        groups["images"] = groups["images"][::-1] if grid_point.seed else groups["images"]

    file = shelf.suite()
    shelf.fill(file, change=deal)
    table = read_leaderboard(file).tables[0]
    assert not table.image_check
    assert any(pair.significant for pair in table.pairs)
    assert "Claims are over seeds alone" in " ".join(under_table(table))


def test_the_numbers_are_those_of_the_last_round_and_never_the_best_of_several(shelf) -> None:
    """Trap 1: neither a better earlier round, nor the one that validation chose, is the score."""

    def tempt(record, grid_point) -> None:  # noqa: ARG001  # what `fill` calls
        better = {**record["test"]["metrics"], "personalization": 0.99}
        record["selected"] = {"round": 0, "validation": 0.9, "metrics": better}
        record["curve"] = [{**point, "personalization": 0.98, "split": "test"} for point in record["curve"]]

    file = shelf.suite()
    shelf.fill(file, change=tempt)
    last = [record["test"]["metrics"]["personalization"] for record in of(file, "fedavg")]
    row = rows(file)["fedavg"]
    assert row.values["personalization"].mean == pytest.approx(sum(last) / len(last))
    assert row.values["personalization"].mean < 0.9
    assert row.values["selected_personalization"].mean == pytest.approx(0.99)


def test_one_method_under_two_names_never_ranks_differently(shelf) -> None:
    entries = [{"name": name, "method": name} for name in ("local", "centralized", "fedavg", "fedavg-ft")]
    entries += [{"name": "local, equal FLOPs", "method": "local", "steps": 4}, {"name": "again", "method": "fedavg"}]
    file = shelf.suite(entries=entries)
    shelf.fill(
        file, lambda grid_point: {"local": 5, "fedavg": 17, "again": 17}.get(grid_point.entry, 20) + grid_point.seed % 2
    )
    table = read_leaderboard(file).tables[0]
    one, two = (next(row for row in table.rows if row.entry == name) for name in ("fedavg", "again"))
    assert (one.rank, one.values) == (two.rank, two.values)
    [pair] = [pair for pair in table.pairs if {pair.a, pair.b} == {"fedavg", "again"}]
    assert (pair.difference, pair.significant) == (0, False)


def test_seeds_that_differ_are_not_tested_and_nothing_is_claimed(shelf) -> None:
    file = shelf.suite()
    shelf.fill(
        file,
        lambda grid_point: (
            None if grid_point.entry == "fedavg" and grid_point.seed > 2 else 5 if "local" in grid_point.entry else 25
        ),
    )
    table = read_leaderboard(file).tables[0]
    for pair in table.pairs:
        if "fedavg" in (pair.a, pair.b):
            assert not pair.significant
            assert math.isnan(pair.p)
            assert "fedavg has no seed 3, 4" in pair.why_not
    assert next(row for row in table.rows if row.entry == "fedavg").rank == (1, 5)


@pytest.mark.parametrize("missing", ["steps", "flops", "centralized", "tuned"])
def test_a_compulsory_row_that_is_not_named_is_asked_for(missing, shelf) -> None:
    file = shelf.suite()
    shelf.fill(file)
    baselines = {name: entry for name, entry in shelf.baselines.items() if name != missing}
    file = shelf.suite(baselines=baselines)
    with pytest.raises(RequestError, match=rf"{missing} \(.*\) is not named.*\[baselines\].*fedbench suite run"):
        read_leaderboard(file)


def test_a_compulsory_row_without_records_is_asked_for(shelf) -> None:
    file = shelf.suite()
    shelf.fill(file, lambda grid_point: None if grid_point.entry == "centralized" else 10)
    with pytest.raises(
        RequestError, match=r"for spots, Dirichlet 0.3, tiny.*centralized .*'centralized', which has no record"
    ):
        read_leaderboard(file)


@pytest.mark.parametrize(
    ("baselines", "says"),
    [
        ({"steps": "fedavg"}, "'fedavg', which communicates"),
        ({"steps": "local, equal FLOPs"}, "FLOPs', which trains 2 rounds of 4 steps of 32 images, as no entry does"),
        ({"flops": "local"}, r"'local', which trains with 1 GFLOPs, where the dearest entry takes 2\.1"),
        ({"centralized": "local"}, "'local', which trains more than one model"),
        ({"tuned": "fedavg"}, "'fedavg', which does not communicate, or gives all clients one model"),
    ],
)
def test_a_compulsory_row_that_is_another_is_refused(baselines, says, shelf) -> None:
    file = shelf.suite(baselines={**shelf.baselines, **baselines})
    shelf.fill(file)
    with pytest.raises(RequestError, match=says):
        read_leaderboard(file)


@pytest.mark.parametrize(("gflops", "enough"), [(1.88, False), (1.90, True)])
def test_a_row_of_equal_flops_comes_within_a_tenth_of_the_dearest(gflops, enough, shelf) -> None:
    def spend(record, grid_point) -> None:
        if grid_point.entry == "local, equal FLOPs":
            record["costs"]["training_gflops"] = gflops

    file = shelf.suite()
    shelf.fill(file, change=spend)
    with nullcontext() if enough else pytest.raises(RequestError, match=r"with 1\.88 GFLOPs, .* takes 2\.1"):
        read_leaderboard(file)


def test_an_entry_that_trains_two_models_needs_its_twin_that_is_never_shared(shelf) -> None:
    def pair_up(record, grid_point) -> None:
        if grid_point.entry == "fedavg":
            record["test"]["roles"] = {"student": {}}

    file = shelf.suite()
    shelf.fill(file, change=pair_up)
    with pytest.raises(
        RequestError, match=r"'fedavg', which scores a second model.* not named; if the two do not teach"
    ):
        read_leaderboard(file)
    assert read_leaderboard(shelf.suite(baselines={**shelf.baselines, "unshared": {"fedavg": "local"}}))
    with pytest.raises(RequestError, match="'fedavg-ft', which communicates"):
        read_leaderboard(shelf.suite(baselines={**shelf.baselines, "unshared": {"fedavg": "fedavg-ft"}}))


def test_without_personal_models_no_tuned_row_is_needed(shelf) -> None:
    entries = [entry for entry in shelf.entries if entry["name"] != "fedavg-ft"]
    baselines = {name: entry for name, entry in shelf.baselines.items() if name != "tuned"}
    file = shelf.suite(entries=entries, baselines=baselines)
    shelf.fill(file)
    assert len(rows(file)) == 4


def test_a_suite_without_records_says_how_to_make_them(shelf) -> None:
    with pytest.raises(RequestError, match=r"Suite small has no records yet.*fedbench suite run"):
        read_leaderboard(shelf.suite())


def test_another_metric_is_ranked_and_less_may_be_better(shelf) -> None:
    file = shelf.suite()
    shelf.fill(file)
    table = read_leaderboard(file, "ece").tables[0]
    assert (table.ranked_by.name, table.image_check) == ("ece", False)
    means = [row.values["ece"].mean for row in table.rows]
    assert means == sorted(means)
    assert table.rows[0].rank == (1, 1)
    assert table.rows[0].entry == "centralized"


def test_a_cost_orders_and_leaves_the_ranks(shelf) -> None:
    file = shelf.suite()
    shelf.fill(file)
    by_cost = read_leaderboard(file, "gflops").tables[0]
    assert [row.values["gflops"].mean for row in by_cost.rows] == [1, 1, 1, 2, 2.1]
    assert {row.entry: row.rank for row in by_cost.rows} == {name: row.rank for name, row in rows(file).items()}


def test_an_unknown_column_is_told_with_its_neighbors(shelf) -> None:
    file = shelf.suite()
    shelf.fill(file)
    with pytest.raises(RequestError, match=r"No column named 'personalization'\. Did you mean 'personalization'"):
        read_leaderboard(file, "personalization")


def test_a_budget_leaves_out_and_what_is_left_is_a_family_of_its_own(shelf) -> None:
    file = shelf.suite()
    shelf.fill(file)
    table = read_leaderboard(file, budgets=[read_budget("bytes=1MB")]).tables[0]
    assert {row.entry for row in table.rows} == {"local", "local, equal FLOPs", "centralized"}
    assert [str(over) for over in table.left_out] == ["fedavg (1.50 MB)", "fedavg-ft (1.50 MB)"]
    assert len(table.pairs) == 3


def test_bytes_by_hand(shelf) -> None:
    """6 MB up and 3 MB down of three clients in two rounds."""
    file = shelf.suite()
    shelf.fill(file)
    values = rows(file)["fedavg"].values
    assert (values["mb_up"].mean, values["mb_down"].mean, values["mb_peer"].mean) == (1.0, 0.5, 0.0)
    assert values["mb_up"].low == values["mb_up"].high == 1.0


def test_who_made_it(shelf) -> None:
    file = shelf.suite()
    shelf.fill(file)
    row = rows(file)["local, equal FLOPs"]
    assert (row.method, row.fidelity, row.backbones) == ("local", "full", "tiny")
    assert "fedbench-fedavg" in row.plugin  # the template's


def test_a_table_for_each_dataset_partition_and_backbones(shelf) -> None:
    file = shelf.suite(
        datasets=["spots", "phantom"],
        backbones=["tiny", "tiny,wide"],
        partitions=[{"name": "even", "partitioner": "iid"}, {"name": "skewed"}],
        seeds=2,
    )
    shelf.fill(file)
    leaderboard = read_leaderboard(file)
    titles = [str(table.case) for table in leaderboard.tables]
    assert titles[:4] == [
        "spots, even, tiny",
        "spots, even, tiny + wide",
        "spots, skewed, tiny",
        "spots, skewed, tiny + wide",
    ]
    assert len(titles) == len(set(titles)) == 8
    assert leaderboard.across is not None
    assert not leaderboard.across.claim
    assert "2 datasets" in leaderboard.across.why_not
    assert leaderboard.across.ranks["centralized"] == 1


def test_from_six_datasets_on_ranks_are_told_apart(shelf) -> None:
    file = shelf.suite(datasets=[f"d{number}" for number in range(6)], seeds=2)
    shelf.fill(file)
    across = read_leaderboard(file).across
    assert across is not None
    assert across.claim
    assert across.ranks["centralized"] == read_leaderboard(file, "ece").across.ranks["centralized"] == 1, (
        "of ECE the least is best"
    )
    assert across.critical_difference == pytest.approx(2.49, abs=0.01)  # 2.728 sqrt(5 x 6 / 36)


def test_records_of_other_settings_are_left_out_and_counted(shelf) -> None:
    file = shelf.suite()
    shelf.fill(file)
    more = shelf.suite(seeds=4)
    leaderboard = read_leaderboard(more)
    assert (leaderboard.records, leaderboard.grid_points, leaderboard.strangers) == (20, 20, 5)


@pytest.mark.parametrize(
    ("made", "says"),
    [
        ({"seed": 7}, "seed 7 (the suite: 1)"),
        ({"steps": 9, "rounds": 20}, "rounds 20 (the suite: 2); steps 9 (the suite: 2)"),
        ({"set": {"partitioner.alpha": 5.0}}, "partitioner.alpha 5.0 (the suite: 0.5)"),
    ],
)
def test_a_record_of_other_settings_than_its_grid_point_asks_for_is_refused(made, says, shelf) -> None:
    """Its seal holds: whoever files by hand may name any grid_point."""

    def claim(record, grid_point) -> None:
        if (grid_point.entry, grid_point.seed) == ("fedavg", 1):
            record["spec"] |= made

    settings = {"clients": 3, "rounds": 2, "steps": 2, "set": {"partitioner.alpha": 0.5}}
    file = shelf.suite(settings=settings)
    shelf.fill(file)
    assert read_leaderboard(file)
    shelf.fill(file, change=claim)
    with pytest.raises(RunError, match=rf"filed as fedavg, seed 1 was made with {re.escape(says)}\."):
        read_leaderboard(file)


def test_a_part_of_a_record_is_refused_though_it_is_sealed(shelf) -> None:
    def cut(record, grid_point) -> None:
        if (grid_point.entry, grid_point.seed) == ("fedavg", 1):
            del record["test"], record["costs"]

    file = shelf.suite()
    shelf.fill(file, change=cut)
    with pytest.raises(RunError, match=r"filed as fedavg, seed 1 has no test, costs, .*fedbench submit"):
        read_leaderboard(file)


def test_settings_may_be_asked_for_in_other_words(shelf) -> None:
    """An alias of a backbone, and text for a number, are resolved in a record."""

    def resolve(record, grid_point) -> None:  # noqa: ARG001  # what `fill` calls
        record["spec"] |= {"backbones": ["tiny_v1"], "set": {"partitioner.alpha": 0.5}}

    file = shelf.suite(settings={"clients": 3, "rounds": 2, "steps": 2, "set": {"partitioner.alpha": "0.5"}})
    shelf.fill(file, change=resolve)
    assert read_leaderboard(file)


def test_runs_of_one_entry_that_differ_in_more_than_the_seed_are_refused(shelf) -> None:
    def update(record, grid_point) -> None:
        if grid_point.entry == "fedavg-ft":
            record["spec"]["set"] = {"local_update.tuning": 1 if grid_point.seed < 3 else 2}

    def extend(record, grid_point) -> None:
        if grid_point.entry == "fedavg-ft" and grid_point.seed > 2:
            record["spec"]["set"] = {"local_update.new": 1}

    file = shelf.suite()
    shelf.fill(file, change=extend)
    assert read_leaderboard(file), "an option that is new is no change"
    shelf.fill(file, change=update)
    with pytest.raises(
        RunError, match=r"of fedavg-ft, seed 0 and of fedavg-ft, seed 3 are no repeats .*tuning 1 \(now 2\).*--fresh"
    ):
        read_leaderboard(file)


def test_records_of_other_images_are_refused(shelf) -> None:
    def swap(record, grid_point) -> None:
        if grid_point.entry == "centralized" and grid_point.seed == 1:
            record["data"]["digest"] = "other"

    file = shelf.suite()
    shelf.fill(file, change=swap)
    with pytest.raises(RunError, match="of centralized, seed 1 were made with different images"):
        read_leaderboard(file)


def test_an_altered_record_and_two_that_disagree_are_refused_by_name(shelf) -> None:
    file = shelf.suite()
    first, *_ = shelf.fill(file)
    text = first.read_text()
    twin = first.with_name("twin.json")
    other = json.loads(text)
    other["test"]["metrics"]["auc"] = 0.123
    from fedbench_core.records.record import sealed, write_record  # noqa: PLC0415

    write_record(twin, sealed({name: value for name, value in other.items() if name != "digest"}))
    with pytest.raises(
        RunError, match=rf"{first.name} and .*twin.json are records of one grid point and disagree in test"
    ):
        read_leaderboard(file)
    twin.unlink()
    first.write_text(text.replace('"auc":0.', '"auc":1.', 1))
    with pytest.raises(RunError, match=rf"{first.name} was altered"):
        read_leaderboard(file)
    first.write_text(text.replace('"format": 2', '"format": 99'))
    with pytest.raises(RunError, match=rf"{first.name} has format 99"):
        read_leaderboard(file)


def test_an_undefined_score_is_left_out_of_mean_and_count(shelf) -> None:
    """Trap 3."""

    def forget(record, grid_point) -> None:
        if grid_point.entry == "fedavg" and grid_point.seed == 0:
            record["test"]["metrics"]["auc"] = None

    file = shelf.suite()
    shelf.fill(file, change=forget)
    auc = rows(file)["fedavg"].values["auc"]
    known = [record["test"]["metrics"]["auc"] for record in of(file, "fedavg") if record["grid_point"]["seed"] > 0]
    assert (auc.mean, auc.count, auc.left_out) == (pytest.approx(sum(known) / 4), 4, 1)
