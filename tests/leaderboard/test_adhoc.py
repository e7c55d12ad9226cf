"""Leaderboards of runs outside a suite, from records that are given one by one."""

import json
from pathlib import Path

import pytest

from fedbench_core.api.errors import RequestError
from fedbench_core.leaderboard.adhoc import leaderboard_of
from fedbench_core.leaderboard.leaderboard import build_leaderboard
from fedbench_core.suites.filed_records import read_folder, records_folder
from fedbench_core.suites.suite import read_suite


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
