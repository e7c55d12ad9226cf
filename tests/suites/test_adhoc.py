import pytest

from fedbench_core.api import RequestError
from fedbench_core.suites.adhoc import adhoc_suite, suite_text
from fedbench_core.suites.files import read_suite

SETTINGS = {"dataset": "spots", "backbones": "tiny,tiny", "rounds": "3", "set": {"partitioner.alpha": 0.3}}


def test_suite_from_a_command_line_has_an_entry_per_method_and_every_seed() -> None:
    suite = adhoc_suite("mine", ("local", "fedavg"), (4, 7), SETTINGS, "auc")
    points = suite.grid_points()
    assert [(point.entry, point.seed) for point in points] == [
        ("local", 4), ("fedavg", 4), ("local", 7), ("fedavg", 7),
    ]  # fmt: skip
    spec = points[0].spec
    assert (spec.method, spec.dataset, spec.backbones, spec.rounds) == ("local", "spots", ("tiny", "tiny"), 3)
    assert spec.set == {"partitioner.alpha": 0.3}
    assert suite.baselines.steps == "local"


def test_suite_that_is_written_and_read_has_the_same_grid_points(tmp_path) -> None:
    suite = adhoc_suite("mine", ("local", "fedavg-ft"), (0, 1), SETTINGS, "auc")
    file = tmp_path / "mine.toml"
    file.write_text(suite_text(suite))
    again = read_suite(file)
    assert again.model_dump() == suite.model_dump()
    assert [point.key for point in again.grid_points()] == [point.key for point in suite.grid_points()]


@pytest.mark.parametrize(
    ("methods", "settings", "metric", "named"),
    [
        (("local", "local"), {}, "auc", "twice"),
        (("local",), {}, "acu", "auc"),
        (("local",), {"round": 3}, "auc", "rounds"),
        (("local",), {"rounds": 0}, "auc", "--rounds"),
    ],
)
def test_wrong_comparison_is_refused(methods, settings, metric, named) -> None:
    with pytest.raises(RequestError, match=named):
        adhoc_suite("mine", methods, (0,), settings, metric)
