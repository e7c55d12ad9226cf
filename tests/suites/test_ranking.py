"""The score that ranks a suite where its file names none."""

import pytest

from fedbench_core.api import RequestError
from fedbench_core.leaderboard.pages import read_leaderboard
from fedbench_core.suites.ranking import default_metric


def _record(counts, task="multi-class"):
    return {"data": {"task": task, "classes": ["c"] * len(counts[0])}, "population": {"counts": counts}}


@pytest.mark.parametrize(
    ("records", "metric"),
    [
        ([_record([[5, 5, 5], [5, 5, 5]])], "personalization"),
        ([_record([[9, 0, 0], [0, 5, 4]])], "personalization"),  # skewed clients of a balanced dataset
        ([_record([[5, 1, 1], [5, 1, 1]])], "auc"),
        ([_record([[5, 5]])], "auc"),
        ([_record([[1, 1, 1]], "multi-label")], "auc"),
        ([_record([[5, 5, 5]]), _record([[5, 5]])], "auc"),
        ([], "personalization"),
    ],
)
def test_two_classes_several_labels_and_skew_are_ranked_by_auc(records, metric) -> None:
    assert default_metric(records) == metric


def test_suite_without_a_metric_is_ranked_by_that_of_its_dataset(suite_folder) -> None:
    def skew(record, _point):
        record["population"]["counts"] = [[sum(own), 0, 0] for own in record["population"]["counts"]]

    file = suite_folder.suite()
    suite_folder.fill(file)
    assert read_leaderboard(file).ranked_by.name == "personalization"
    suite_folder.fill(file, change=skew)
    board = read_leaderboard(file)
    assert (board.ranked_by.name, board.tables[0].image_check) == ("auc", True)
    assert read_leaderboard(file, sort="personalization").ranked_by.name == "personalization"


def test_hold_out_of_one_entry_is_refused(suite_folder) -> None:
    file = suite_folder.suite(entries=[{"method": "local"}, {"method": "fedavg", "hold_out_clients": 1}])
    with pytest.raises(RequestError, match="hold_out_clients"):
        read_leaderboard(file)
