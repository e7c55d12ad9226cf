"""Leaderboards: ranks, significance, compulsory baselines, and records that are refused."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest

from fedbench_core.api import RequestError
from fedbench_core.federation.bits import text_of_codes
from fedbench_core.federation.spec import digest_of
from fedbench_core.leaderboard.budget import read_budget
from fedbench_core.leaderboard.columns import hurt
from fedbench_core.leaderboard.definitions import leaderboard_footnotes
from fedbench_core.leaderboard.footnotes import table_footnotes
from fedbench_core.leaderboard.markdown import page
from fedbench_core.leaderboard.outcome import outcome
from fedbench_core.leaderboard.pages import read_leaderboard
from fedbench_core.records.record import sealed, write_record
from fedbench_core.statistics.pairs import compare
from fedbench_core.suites.filed_records import read_filed_records, records_folder


def rows(file, **how) -> dict:
    return {row.entry: row for row in read_leaderboard(file, **how).tables[0].rows}


def refused(file) -> dict[str, str]:
    """The records that are left out: the reason by the first words of the file's name."""
    return {error.path.name.split("-spots")[0]: error.reason for error in read_leaderboard(file).refused}


def only(entry, seed, change):
    """A change of one record."""
    return lambda record, grid_point: change(record) if (grid_point.entry, grid_point.seed) == (entry, seed) else None


def records_of_entry(file, entry) -> list[dict]:
    return [record for record in read_filed_records(records_folder(file)) if record["grid_point"]["entry"] == entry]


def unranked(file) -> str:
    """Why the table of a suite is not ranked; it has all its rows and pairs, but no rank and no winner."""
    leaderboard = read_leaderboard(file)
    [table] = leaderboard.tables
    assert table.rows
    assert {row.rank for row in table.rows} == {None}
    assert leaderboard.winners[0][1] is None
    [note] = [note for note in table_footnotes(table) if note.startswith("Not ranked")]
    return note


def test_ranks_are_intervals_where_differences_are_not_significant(suite_folder) -> None:
    """Neighbors in a pair differ by one image, which may be due to the test images; the others differ by many."""
    file = suite_folder.suite()
    suite_folder.fill(file)
    leaderboard = read_leaderboard(file)
    assert {row.entry: row.rank for row in leaderboard.tables[0].rows} == {
        "centralized": (1, 1),
        "fedavg-ft": (2, 3),
        "fedavg": (2, 3),
        "local, equal FLOPs": (4, 6),
        "local": (4, 6),
        "majority": (4, 6),
    }
    assert leaderboard.tables[0].references == ["centralized"]
    assert leaderboard.winners[0][1] is None, "without centralized training"


def test_difference_that_may_be_due_to_the_test_images_is_not_significant(suite_folder) -> None:
    """Two images in every seed are significant over seeds alone."""
    file = suite_folder.suite(seeds=12)
    suite_folder.fill(
        file,
        lambda grid_point: (
            {"local": 9, "fedavg": 11}.get(grid_point.entry, 10)
            + (grid_point.seed % 3 if grid_point.entry == "centralized" else grid_point.seed % 2)
        ),
    )
    table = read_leaderboard(file).tables[0]
    assert table.image_check
    assert not any(pair.significant for pair in table.pairs)
    assert any(pair.significant for pair in compare(table.scores()))
    assert {row.rank for row in table.rows} == {(1, 6)}
    notes = " ".join(table_footnotes(table))
    assert "0 of 15 pairs" in notes
    assert re.search("Not placed.*: .*“local, equal FLOPs”", notes)


def test_image_check_requires_the_same_test_images_per_client_in_all_runs(suite_folder) -> None:
    """As with a partition of the test images that depends on the seed."""

    def deal(record, grid_point) -> None:
        images = np.roll(np.arange(30) % 3, grid_point.seed)
        record["test"]["groups"] = {"of": "client", "kinds": 4, "images": text_of_codes(images, 4)}
        record["population"]["images"]["test"] = [10, 10, 10]
        record["test"]["metrics"]["balanced_accuracy"] = 0.5

    file = suite_folder.suite()
    suite_folder.fill(file, change=deal)
    table = read_leaderboard(file).tables[0]
    assert not table.image_check
    assert any(pair.significant for pair in table.pairs)
    assert "The tests are over seeds only" in " ".join(table_footnotes(table))


def test_scores_are_those_of_the_last_round_even_if_another_is_better(suite_folder) -> None:
    """Trap 1: selection on test data."""

    def improve_earlier_rounds(record, grid_point) -> None:  # noqa: ARG001  # the signature that `fill` calls
        record["selected"]["metrics"] = {**record["test"]["metrics"], "personalization": 0.99}
        record["curve"][0]["personalization"] = 0.98

    file = suite_folder.suite()
    suite_folder.fill(file, change=improve_earlier_rounds)
    last = [record["test"]["metrics"]["personalization"] for record in records_of_entry(file, "fedavg")]
    row = rows(file)["fedavg"]
    assert row.intervals["personalization"].mean == pytest.approx(sum(last) / len(last))
    assert row.intervals["personalization"].mean < 0.9
    assert row.intervals["selected_personalization"].mean == pytest.approx(0.99)


def test_method_under_two_names_has_one_rank(suite_folder) -> None:
    names = ("majority", "local", "centralized", "fedavg", "fedavg-ft")
    entries = [{"name": name, "method": name} for name in names]
    entries += [{"name": "local, equal FLOPs", "method": "local", "steps": 4}, {"name": "again", "method": "fedavg"}]
    file = suite_folder.suite(entries=entries)
    suite_folder.fill(
        file, lambda grid_point: {"local": 5, "fedavg": 17, "again": 17}.get(grid_point.entry, 20) + grid_point.seed % 2
    )
    table = read_leaderboard(file).tables[0]
    one, two = (next(row for row in table.rows if row.entry == name) for name in ("fedavg", "again"))
    assert (one.rank, one.intervals) == (two.rank, two.intervals)
    [pair] = [pair for pair in table.pairs if {pair.a, pair.b} == {"fedavg", "again"}]
    assert (pair.difference, pair.significant) == (0, False)


def test_entries_with_different_seeds_are_not_tested(suite_folder) -> None:
    file = suite_folder.suite()
    suite_folder.fill(
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
    assert next(row for row in table.rows if row.entry == "fedavg").rank == (1, 6)


@pytest.mark.parametrize("missing", ["majority", "steps", "flops", "centralized", "tuned"])
def test_table_without_a_compulsory_baseline_is_not_ranked(missing, suite_folder) -> None:
    file = suite_folder.suite()
    suite_folder.fill(file)
    baselines = {name: entry for name, entry in suite_folder.baselines.items() if name != missing}
    file = suite_folder.suite(baselines=baselines)
    assert re.search(rf"{missing} \(.*\[baselines\]", unranked(file))


def test_table_without_records_of_a_baseline_is_not_ranked(suite_folder) -> None:
    file = suite_folder.suite()
    suite_folder.fill(file, lambda grid_point: None if grid_point.entry == "centralized" else 10)
    assert "'centralized', which has no record" in unranked(file)


@pytest.mark.parametrize(
    ("baselines", "message"),
    [
        ({"steps": "fedavg"}, "'fedavg', which communicates"),
        ({"steps": "local, equal FLOPs"}, "FLOPs', which trains 2 rounds of 4 steps of 16 images"),
        ({"flops": "local"}, r"'local', which trains with 1 GFLOPs.* 2\.1"),
        ({"centralized": "local"}, "'local', which trains more than one model"),
        ({"tuned": "fedavg"}, "'fedavg', which does not communicate"),
        ({"majority": "local"}, "'local', which trains"),
        ({"majority": "fedavg"}, "'fedavg', which communicates"),
    ],
)
def test_table_with_a_baseline_of_another_kind_is_not_ranked(baselines, message, suite_folder) -> None:
    file = suite_folder.suite(baselines={**suite_folder.baselines, **baselines})
    suite_folder.fill(file)
    assert re.search(message, unranked(file))


@pytest.mark.parametrize("part", ["aggregation", "prediction"])
def test_gflops_are_those_of_the_server_and_of_fine_tuning_too(part, suite_folder) -> None:
    def spend(record, grid_point) -> None:
        if grid_point.entry == "fedavg":
            record["costs"][f"{part}_gflops"] = 0.5

    file = suite_folder.suite()
    suite_folder.fill(file, change=spend)
    rows = {row.entry: row for row in read_leaderboard(file, "personalization").tables[0].rows}
    assert rows["fedavg"].intervals["gflops"].mean == 1.5


@pytest.mark.parametrize(("gflops", "enough"), [(1.88, False), (1.90, True)])
def test_baseline_of_equal_flops_has_nine_tenths_of_the_most_expensive_entry(gflops, enough, suite_folder) -> None:
    def set_flops(record, grid_point) -> None:
        if grid_point.entry == "local, equal FLOPs":
            record["costs"]["training_gflops"] = gflops

    file = suite_folder.suite()
    suite_folder.fill(file, change=set_flops)
    assert enough or re.search(r"1\.88 GFLOPs.* 2\.1", unranked(file))
    assert not enough or not read_leaderboard(file).tables[0].why_unranked


def test_entry_with_two_models_per_client_requires_an_unshared_baseline(suite_folder) -> None:
    def add_student(record, grid_point) -> None:
        if grid_point.entry == "fedavg":
            suite_folder.add_role(record, "student")

    file = suite_folder.suite()
    suite_folder.fill(file, change=add_student)
    assert re.search(r"unshared .*'fedavg', which evaluates two models", unranked(file))
    file = suite_folder.suite(baselines={**suite_folder.baselines, "controls": {"fedavg": "local"}})
    assert not read_leaderboard(file).tables[0].why_unranked
    file = suite_folder.suite(baselines={**suite_folder.baselines, "controls": {"fedavg": "fedavg-ft"}})
    assert "'fedavg-ft', which communicates" in unranked(file)


def _with_fedprox(suite_folder, controls=None, **settings):
    """A suite with an entry whose method declares that fedavg is its control."""
    entries = [*suite_folder.entries, {"name": "fedprox", "method": "fedprox", **settings}]
    file = suite_folder.suite(entries=entries, baselines={**suite_folder.baselines, "controls": controls or {}})
    suite_folder.fill(file, lambda point: 20 + point.seed if point.entry == "fedprox" else 3 + point.seed % 2)
    return file


def test_entry_is_compared_with_the_control_that_its_method_declares(suite_folder) -> None:
    leaderboard = read_leaderboard(_with_fedprox(suite_folder))
    [table] = leaderboard.tables
    assert not table.why_unranked
    assert [{pair.a, pair.b} for pair in table.pairs if pair.planned] == [{"fedavg", "fedprox"}]
    assert "fedavg (for fedprox: " in " ".join(leaderboard_footnotes(leaderboard))
    assert re.search("without the idea.*: fedprox", " ".join(outcome(leaderboard)))


@pytest.mark.parametrize(
    ("settings", "controls", "wrong"),
    [
        ({"lr": 0.3}, {}, "required for 'fedprox': method fedavg"),
        ({"lr": 0.3}, {"fedprox": "fedavg"}, ""),
        ({}, {"fedprox": "local"}, "'local', which is of method local; expected method fedavg"),
    ],
    ids=["other settings", "named", "another method"],
)
def test_table_without_the_declared_control_is_not_ranked(settings, controls, wrong, suite_folder) -> None:
    file = _with_fedprox(suite_folder, controls, **settings)
    if wrong:
        assert wrong in unranked(file)
    else:
        assert not read_leaderboard(file).tables[0].why_unranked


def test_control_without_a_record_is_missing(suite_folder) -> None:
    file = _with_fedprox(suite_folder)
    for path in records_folder(file).glob("fedavg-spots*"):
        path.unlink()
    assert "'fedavg', which has no record" in unranked(file)


def test_records_of_one_round_of_a_period_are_marked(suite_folder) -> None:
    """Entries of a ring of three clients have scores over three rounds; the records hold the last one only."""

    def lengthen(record, grid_point) -> None:
        if grid_point.entry == "ring":
            record["test"]["round"] = 2
            record["curve"].append({**record["curve"][-1], "round": 2})

    entries = [*suite_folder.entries, {"name": "ring", "method": "fedskd", "rounds": 3}]
    file = suite_folder.suite(entries=entries)
    suite_folder.fill(file, lambda point: 3 + point.seed % 2, change=lengthen)
    leaderboard = read_leaderboard(file)
    assert leaderboard.of_last_round == ("ring",)
    assert "Scores of the last round only" in " ".join(leaderboard_footnotes(leaderboard))


def test_tuned_baseline_is_not_required_without_personal_models(suite_folder) -> None:
    entries = [entry for entry in suite_folder.entries if entry["name"] != "fedavg-ft"]
    baselines = {name: entry for name, entry in suite_folder.baselines.items() if name != "tuned"}
    file = suite_folder.suite(entries=entries, baselines=baselines)
    suite_folder.fill(file)
    assert len(rows(file)) == 5


def test_suite_without_records_is_refused_with_the_command_to_run_it(suite_folder) -> None:
    with pytest.raises(RequestError, match=r"small.*fedbench suite run"):
        read_leaderboard(suite_folder.suite())


def test_metric_where_less_is_better_ranks_the_least_first(suite_folder) -> None:
    file = suite_folder.suite()
    suite_folder.fill(file)
    table = read_leaderboard(file, "ece").tables[0]
    assert (table.ranked_by.name, table.image_check) == ("ece", False)
    means = [row.intervals["ece"].mean for row in table.rows]
    assert means == sorted(means)
    assert table.rows[0].rank == (1, 1)
    assert table.rows[0].entry == "centralized"


def test_sorting_by_a_cost_keeps_the_ranks(suite_folder) -> None:
    file = suite_folder.suite()
    suite_folder.fill(file)
    by_cost = read_leaderboard(file, "gflops").tables[0]
    assert [row.intervals["gflops"].mean for row in by_cost.rows] == [0, 1, 1, 1, 2, 2.1]
    assert {row.entry: row.rank for row in by_cost.rows} == {name: row.rank for name, row in rows(file).items()}


def test_column_that_is_unknown_is_refused_with_close_matches(suite_folder) -> None:
    file = suite_folder.suite()
    suite_folder.fill(file)
    with pytest.raises(RequestError, match=r"'personalizaton'.*'personalization'"):
        read_leaderboard(file, "personalizaton")


def test_budget_leaves_entries_out_of_table_and_tests(suite_folder) -> None:
    file = suite_folder.suite()
    suite_folder.fill(file)
    table = read_leaderboard(file, budgets=[read_budget("bytes=1MB")]).tables[0]
    assert {row.entry for row in table.rows} == {"majority", "local", "local, equal FLOPs", "centralized"}
    assert [(over.entry, over.cost) for over in table.left_out] == [("fedavg", 1.5e6), ("fedavg-ft", 1.5e6)]
    assert len(table.pairs) == 6


def test_megabytes_are_per_client_and_round(suite_folder) -> None:
    """6 MB up and 3 MB down for three clients in two rounds."""
    file = suite_folder.suite()
    suite_folder.fill(file)
    values = rows(file)["fedavg"].intervals
    assert (values["mb_up"].mean, values["mb_down"].mean, values["mb_peer"].mean) == (1.0, 0.5, 0.0)
    assert values["mb_up"].low == values["mb_up"].high == 1.0


def test_megabytes_of_all_directions_are_not_rounded_on_the_way(suite_folder) -> None:
    """The sum of the floats 1.827 and 1.86 exceeds 3.687, a budget that this entry meets exactly."""

    def change(record, _) -> None:
        if record["costs"]["bytes_up"]:
            record["costs"] |= {"bytes_up": 6 * 1_827_000, "bytes_down": 6 * 1_860_000, "bytes_dense": 10**9}

    file = suite_folder.suite()
    suite_folder.fill(file, change=change)
    assert rows(file)["fedavg"].megabytes == 3.687


def test_row_has_method_plugin_fidelity_and_backbones(suite_folder) -> None:
    file = suite_folder.suite()
    suite_folder.fill(file)
    row = rows(file)["local, equal FLOPs"]
    assert (row.method, row.fidelity, row.backbones) == ("local", "full", "tiny")
    assert "fedbench-fedavg" in row.plugin  # the template's


def test_leaderboard_has_a_table_for_each_dataset_partition_and_backbones(suite_folder) -> None:
    file = suite_folder.suite(
        datasets=["spots", "phantom"],
        backbones=["tiny", "tiny,wide"],
        partitions=[{"name": "even", "partitioner": "iid"}, {"name": "skewed"}],
        seeds=2,
    )
    suite_folder.fill(file)
    leaderboard = read_leaderboard(file)
    titles = [str(table.case) for table in leaderboard.tables]
    assert titles[:4] == [
        "spots, even, tiny",
        "spots, even, tiny + wide",
        "spots, skewed, tiny",
        "spots, skewed, tiny + wide",
    ]
    assert len(titles) == len(set(titles)) == 8
    assert leaderboard.over_datasets is not None
    assert not leaderboard.over_datasets.significant
    assert "2 datasets" in leaderboard.over_datasets.why_not
    assert leaderboard.over_datasets.ranks["centralized"] == 1


def test_mean_ranks_are_tested_from_six_datasets_on(suite_folder) -> None:
    file = suite_folder.suite(datasets=[f"d{number}" for number in range(6)], seeds=2)
    suite_folder.fill(file)
    over_datasets = read_leaderboard(file).over_datasets
    assert over_datasets is not None
    assert over_datasets.significant
    assert over_datasets.ranks["centralized"] == 1
    assert read_leaderboard(file, "ece").over_datasets.ranks["centralized"] == 1, "the lowest ECE"
    assert over_datasets.critical_difference == pytest.approx(3.08, abs=0.01)  # 2.850 sqrt(6 x 7 / 36)


def test_records_of_no_grid_point_are_ignored_and_counted(suite_folder) -> None:
    file = suite_folder.suite()
    suite_folder.fill(file)
    more = suite_folder.suite(seeds=4)
    leaderboard = read_leaderboard(more)
    assert (leaderboard.records, leaderboard.grid_points, leaderboard.unmatched) == (24, 24, 6)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seed": 7}, "seed 7 (the suite: 1)"),
        ({"optimizer": "sgd"}, "optimizer sgd (the suite: adam)"),
        ({"set": {"partitioner.alpha": 5.0}}, "set.partitioner.alpha 5.0 (the suite: 0.5)"),
        (
            {"set": {"partitioner.alpha": 0.5, "aggregator.uniform": True}},
            "set.aggregator.uniform True (the suite: False)",
        ),
        ({"set": {}}, "set.partitioner.alpha None (the suite: 0.5)"),
        ({"compressor": "topk"}, "compressor topk (the suite: dense)"),
    ],
)
def test_record_with_other_settings_than_its_grid_point_is_refused(changed, message, suite_folder) -> None:
    """Its digests are valid: a record that is edited and sealed again may name any grid point."""
    settings = {"clients": 3, "rounds": 2, "steps": 2, "set": {"partitioner.alpha": 0.5}}
    file = suite_folder.suite(settings=settings)
    suite_folder.fill(file, change=only("fedavg", 1, lambda record: record["spec"].update(changed)))
    found = refused(file)
    assert list(found) == ["fedavg"]
    assert message in found["fedavg"]


@pytest.mark.parametrize(("version", "accepted"), [("0.0.1", True), (None, False)])
def test_only_a_record_of_another_version_may_lack_an_option(version, accepted, suite_folder) -> None:
    """Without its version anyone could hide an option that was set otherwise."""

    def change(record) -> None:
        record["spec"]["set"].pop("partitioner.min_size")
        record["versions"].update({"fedbench-core": version} if version else {})

    file = suite_folder.suite()
    suite_folder.fill(file, change=only("fedavg", 1, change))
    found = refused(file)
    assert ("min_size" not in str(found), bool(found)) == (accepted, not accepted)


def test_number_that_the_suite_writes_as_text_is_no_difference(suite_folder) -> None:
    file = suite_folder.suite(settings={"clients": 3, "rounds": 2, "steps": 2, "set": {"partitioner.alpha": "0.5"}})
    suite_folder.fill(file)
    assert not refused(file)
    unknown = suite_folder.suite("unknown", datasets=["d0"], settings={"clients": 3, "rounds": 2, "steps": "2"})
    suite_folder.fill(unknown, change=lambda record, _: record["spec"].update(steps=int(record["spec"]["steps"])))
    assert not refused(unknown)
    assert set(read_leaderboard(unknown).unresolved) == {entry["name"] for entry in suite_folder.entries}
    suite_folder.fill(
        unknown,
        change=lambda record, point: record["spec"].update(
            steps=int(record["spec"]["steps"]) + (point.entry == "fedavg")
        ),
    )
    assert set(refused(unknown).values()) == {"was run with steps 3 (the suite: 2)"}


def test_settings_of_a_suite_whose_dataset_is_not_installed_are_compared(suite_folder) -> None:
    file = suite_folder.suite(datasets=["d0"])
    suite_folder.fill(file, change=only("fedavg", 1, lambda record: record["spec"].update(steps=9)))
    assert [error.reason for error in read_leaderboard(file).refused] == ["was run with steps 9 (the suite: 2)"]


MISFITS = {
    "images": (lambda record: record["data"].update(digest="other"), "other images, unlike"),
    "classes": (
        lambda record: record["test"]["groups"].update(images=text_of_codes(np.arange(30) // 10, 3)),
        "other images, unlike",
    ),
    "partition": (
        lambda record: record["population"].update(
            counts=record["population"]["counts"][::-1],
            images={**record["population"]["images"], "train": record["population"]["images"]["train"][::-1]},
        ),
        "another partition, unlike",
    ),
}


@pytest.mark.parametrize("what", MISFITS)
def test_record_that_does_not_fit_the_others_of_its_case_is_refused(what, suite_folder) -> None:
    change, message = MISFITS[what]
    file = suite_folder.suite()
    suite_folder.fill(file, change=only("centralized", 1, change))
    found = refused(file)
    assert list(found) == ["centralized"]
    assert message in found["centralized"]


@pytest.mark.parametrize("gflops", [1.0, None])
def test_record_of_one_seed_does_not_pass_as_anothers(gflops, suite_folder) -> None:
    def cost(record, _) -> None:
        record["costs"]["training_gflops"] = record["costs"]["training_gflops"] and gflops

    file = suite_folder.suite()
    paths = suite_folder.fill(file, change=cost)
    [_, _, _, third, fourth] = sorted(path for path in paths if path.name.startswith("fedavg-ft"))
    one, other = (json.loads(path.read_text()) for path in (third, fourth))
    relabelled = {**one, "grid_point": other["grid_point"], "spec": {**one["spec"], "seed": 4}}
    relabelled["spec_digest"] = digest_of(relabelled["spec"])
    write_record(fourth, sealed({name: value for name, value in relabelled.items() if name != "digest"}))
    assert refused(file) == {"fedavg-ft": "has the results of fedavg-ft, seed 3"}


def forge_block(name, value):
    def change(record) -> None:
        record[name] = value

    return change


BAD = {
    "no spec": forge_block("spec", {}),
    "a key that is a list": lambda record: record["grid_point"].update(key=[]),
    "no grid point": forge_block("grid_point", None),
    "no test": lambda record: record.pop("test"),
    "too many images": lambda record: record["data"]["images"].update(test=10**12),
    "a huge number": lambda record: record["costs"].update(bytes_up=10**400),
    "a score that contradicts its predictions": lambda record: record["test"]["metrics"].update(personalization=0.9),
    "no score": lambda record: record["test"]["metrics"].update(personalization=None),
    "text": "{",
    "deep text": "[" * 100_000,
    "a lone surrogate": '{"format": "\\ud800"}',
    "another format": '{"format": 99}',
}


@pytest.mark.parametrize("what", BAD)
def test_bad_record_is_named_and_the_others_are_ranked(what, suite_folder) -> None:
    file = suite_folder.suite()
    text = BAD[what] if isinstance(BAD[what], str) else None
    paths = suite_folder.fill(file, forge=None if text else only("fedavg", 1, BAD[what]))
    [path] = [path for path in paths if path.name.startswith("fedavg-spots") and "-s1-" in path.name]
    if text:
        path.write_text(text)
    leaderboard = read_leaderboard(file)
    assert [error.path for error in leaderboard.refused] == [path]
    assert leaderboard.records == 29
    assert path.name in page(leaderboard)
    assert str(path.parent) not in page(leaderboard)


def test_records_that_disagree_are_both_refused(suite_folder) -> None:
    file = suite_folder.suite()
    first, *_ = suite_folder.fill(file)
    twin = first.with_name("twin.json")
    other = json.loads(first.read_text())
    other["notes"] = ["another"]
    write_record(twin, sealed({name: value for name, value in other.items() if name != "digest"}))
    leaderboard = read_leaderboard(file)
    assert leaderboard.records == 29
    [error] = leaderboard.refused
    assert error.path == twin
    assert first.name in error.reason
    assert "disagree in notes" in error.reason


def test_undefined_score_is_left_out_of_mean_and_count(suite_folder) -> None:
    """Trap 3: undefined scores that count as zero."""

    def forget(record, grid_point) -> None:
        if grid_point.entry == "fedavg" and grid_point.seed == 0:
            record["test"]["metrics"]["auc"] = None
            del record["test"]["auc_images"]

    file = suite_folder.suite()
    suite_folder.fill(file, change=forget)
    auc = rows(file)["fedavg"].intervals["auc"]
    known = [
        record["test"]["metrics"]["auc"]
        for record in records_of_entry(file, "fedavg")
        if record["grid_point"]["seed"] > 0
    ]
    assert (auc.mean, auc.count, auc.left_out) == (pytest.approx(sum(known) / 4), 4, 1)


def test_planned_comparisons_have_most_of_the_level(suite_folder) -> None:
    file = suite_folder.suite(planned=[["fedavg-ft", "fedavg"], ["fedavg", "local"]])
    suite_folder.fill(file)
    table = read_leaderboard(file).tables[0]
    assert {(pair.a, pair.b) for pair in table.pairs if pair.planned} == {("fedavg", "fedavg-ft"), ("local", "fedavg")}
    assert "1 of 2 planned comparisons and" in " ".join(table_footnotes(table))
    assert "the planned comparisons share 80 % and" in " ".join(leaderboard_footnotes(read_leaderboard(file)))


@pytest.mark.parametrize(
    ("planned", "named"),
    [
        ([["fedavg", "fedsdk"]], "fedsdk"),
        ([["fedavg", "fedavg"]], "itself"),
        ([["fedavg", "local"], ["local", "fedavg"]], "twice"),
    ],
)
def test_planned_comparison_of_unknown_equal_or_repeated_entries_is_refused(planned, named, suite_folder) -> None:
    with pytest.raises(RequestError, match=named):
        read_leaderboard(suite_folder.suite(planned=planned))


def test_clients_that_an_entry_hurts_are_those_below_local_training_with_the_same_seed() -> None:
    """The second of three clients is below in seed 0, none in seed 1; a client without a model is left out."""

    def record(seed, own, rows=(0, 1, 2)) -> dict:
        matrix = {"primary": "label", "label": [own] * 3, "predictor_of_client": list(rows)}
        return {"spec": {"seed": seed}, "test": {"matrix": matrix}}

    column = hurt({seed: record(seed, [0.5, 0.5, 0.5]) for seed in (0, 1)})
    assert column.read(record(0, [0.6, 0.4, 0.5])) == pytest.approx(1 / 3)
    assert column.read(record(1, [0.6, 0.5, 0.5])) == 0
    assert column.read(record(0, [0.6, 0.4, 0.5], (0, 1, None))) == 1 / 2
    assert column.read(record(2, [0.6, 0.4, 0.5])) is None


def test_page_says_in_its_first_line_that_no_entry_is_above_the_most_frequent_class(suite_folder) -> None:
    equal, better = suite_folder.suite("equal"), suite_folder.suite("better")
    suite_folder.fill(equal, lambda grid_point: 10 + grid_point.seed % 2)
    suite_folder.fill(better)
    first = [outcome(read_leaderboard(file))[0] for file in (equal, better)]
    assert "No entry is significantly above the most frequent class" in first[0]
    assert first[1] == "Ranked by **personalization**."
    last = outcome(read_leaderboard(better))[-1]
    assert (
        "Personalization significantly above that of the most frequent class: centralized, fedavg, fedavg-ft." in last
    )
    assert "costliest entry: centralized, fedavg, fedavg-ft." in last
    assert "than alone: none." in last


def test_page_says_which_entries_a_ranking_by_auc_hides(suite_folder) -> None:
    file = suite_folder.suite("hidden", metric="auc")
    suite_folder.fill(file, lambda point: {"fedavg": 3, "majority": 9}.get(point.entry, 12 + point.seed % 2))
    last = outcome(read_leaderboard(file))[-1]
    assert "Mean personalization below that of the most frequent class: fedavg." in last
    assert "lower personalization than alone: fedavg." in last


def test_differences_that_few_seeds_decide_are_told(suite_folder) -> None:
    file = suite_folder.suite()
    suite_folder.fill(file)
    table = read_leaderboard(file).tables[0]
    for skewness, p, told in ((2.5, 0.01, True), (-2.5, 0.01, True), (1.5, 0.01, False), (2.5, 1e-9, False)):
        pair = replace(table.pairs[0], significant=True, skewness=skewness, p_holm=p)
        notes = table_footnotes(replace(table, pairs=(pair,)))
        assert any("Few seeds" in note and pair.a in note for note in notes) == told
