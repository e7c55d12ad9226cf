"""Leaderboards of runs outside a suite, from records that are given one by one."""

import json
from pathlib import Path

import pytest

from fedbench_core.api.errors import RequestError
from fedbench_core.leaderboard.adhoc import leaderboard_of
from fedbench_core.leaderboard.leaderboard import build_leaderboard
from fedbench_core.suites.filed_records import read_folder, records_folder
from fedbench_core.suites.files import read_suite


@pytest.fixture
def filed(suite_folder):
    """The records of a suite as runs outside it, by path, and the file of the suite."""
    file = suite_folder.suite()
    suite_folder.fill(file)
    found = read_folder(records_folder(file)).by_key.values()
    return {path: {k: v for k, v in record.items() if k != "grid_point"} for path, record in found}, file


def test_runs_have_the_scores_and_tests_of_a_suite(filed) -> None:
    records, file = filed
    [table] = leaderboard_of(records).tables
    [expected] = build_leaderboard(read_suite(file), read_folder(records_folder(file))).tables
    scores = [
        sorted(
            (row.method, row.intervals["personalization"].mean, row.intervals["personalization"].high) for row in rows
        )
        for rows in (table.rows, expected.rows)
    ]
    assert scores[0] == scores[1]
    assert len(table.pairs) == len(expected.pairs)
    assert sorted(abs(pair.difference) for pair in table.pairs) == pytest.approx(
        sorted(abs(pair.difference) for pair in expected.pairs)
    )
    assert table.why_unranked == () or "required" in " ".join(table.why_unranked)


def test_datasets_have_tables_of_their_own_and_a_misfit_is_refused(filed) -> None:
    records, _ = filed
    path, record = next(iter(records.items()))
    other = json.loads(json.dumps(record))
    other["spec"]["dataset"], other["digest"] = "elsewhere", "0" * 64
    moved = json.loads(json.dumps(record))
    moved["population"]["counts"][0][0] += 1
    found = leaderboard_of({**records, path: moved, Path("other.json"): other})
    assert [table.case.dataset for table in found.tables] == [record["spec"]["dataset"], "elsewhere"]
    assert [(error.path, "another partition" in error.reason) for error in found.refused] == [(path, True)]
    with pytest.raises(RequestError):
        leaderboard_of({})


def test_second_record_of_a_spec_is_refused_if_it_differs(filed) -> None:
    records, _ = filed
    path, record = next(iter(records.items()))
    slower = {**record, "digest": "0" * 64, "how": {**record["how"], "seconds": 99.0}}
    assert leaderboard_of({**records, Path("same.json"): slower}).refused == ()
    other = {**slower, "versions": {**record["versions"], "torch": "1.0"}}
    found = leaderboard_of({**records, Path("other.json"): other})
    assert [error.path for error in found.refused] == [Path("other.json")]
    assert str(path) in found.refused[0].reason
    assert found.records == len(records)


def test_command_for_equal_flops_is_left_out_if_those_of_local_training_are_not_known(filed) -> None:
    counts = []
    for known in (1.0, None):
        gflops = {"local": known, "fedavg": 2.0}
        some = {
            path: {**one, "costs": {**one["costs"], "training_gflops": gflops[one["spec"]["method"]]}}
            for path, one in kept(filed[0], "fedavg 2", "local 2").items()
        }
        counts.append(len(leaderboard_of(some).tables[0].commands))
    assert counts[1] == counts[0] - 1


def kept(records, *names):
    """The records of these entries, each a method or one with another number of steps."""
    return {path: one for path, one in records.items() if f"{one['spec']['method']} {one['spec']['steps']}" in names}


def test_runs_of_all_baselines_are_ranked(filed) -> None:
    [table] = leaderboard_of(filed[0]).tables
    assert (table.why_unranked, table.commands) == ((), ())
    assert {row.entry for row in table.rows} >= {"local, steps 2", "local, steps 4", "majority, steps 2"}


def test_commands_compute_the_baselines_that_are_missing(filed) -> None:
    records, _ = filed
    some = kept(records, "fedavg 2", "local 2")
    [table] = leaderboard_of(some).tables
    flags = {command.split()[2]: command.split()[3:] for command in table.commands}
    assert list(flags) == ["majority", "centralized"]  # fedavg has one model, and the FLOPs of local training
    assert flags["centralized"][-2:] == ["--steps", "6"]  # those of three clients
    source = Path(flags["majority"][flags["majority"].index("--config") + 1])
    assert records[source]["spec"]["method"] == "fedavg"
    assert flags["majority"][-2:] == ["--seed", "0,1,2,3,4"]


def test_command_for_equal_flops_and_the_fine_tuned_model(filed) -> None:
    records, _ = filed
    [table] = leaderboard_of(kept(records, "fedavg-ft 2", "local 2", "majority 2", "centralized 2")).tables
    [command] = table.commands
    assert command.startswith("fedbench run local ")
    assert command.endswith(" --steps 4")


def test_baseline_of_one_backbone_stands_in_the_table_of_a_list_that_has_it(filed) -> None:
    records, _ = filed
    mixed = {}
    for path, record in records.items():
        one = json.loads(json.dumps(record))
        if one["spec"]["method"] != "centralized":
            one["spec"]["backbones"] = ["tiny", "small"]
        mixed[path] = one
    [table] = leaderboard_of(mixed).tables
    assert "centralized" in {row.method for row in table.rows}
    [lacking] = leaderboard_of({path: one for path, one in mixed.items() if one["spec"]["method"] == "local"}).tables
    assert [" --backbones tiny " in command for command in lacking.commands if " centralized " in command] == [True]


def test_control_of_a_method_is_found_by_its_settings_or_has_a_command(filed) -> None:
    records, _ = filed
    mixed = dict(kept(records, "fedavg 2", "local 2"))
    for path, record in kept(records, "fedavg 2").items():
        one = json.loads(json.dumps(record))
        one["spec"]["method"], one["digest"] = "fedprox", f"{one['digest']}, fedprox"
        mixed[path.with_name(f"fedprox-{path.name}")] = one
    [table] = leaderboard_of(mixed).tables
    assert [own and own.name for own in table.controls.values()] == ["fedavg"]
    [lacking] = leaderboard_of({path: one for path, one in mixed.items() if one["spec"]["method"] != "fedavg"}).tables
    assert [command.split()[2] for command in lacking.commands].count("fedavg") == 1
