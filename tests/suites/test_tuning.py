"""Equal tuning: which trials are drawn, and which is chosen."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from fedbench_core.api import LogUniform, RequestError, RunError
from fedbench_core.cli.tune import _without_choice
from fedbench_core.suites.choices import Choices, choices_file, read_choices, write_choices
from fedbench_core.suites.files import read_suite
from fedbench_core.suites.status import Unrecorded
from fedbench_core.suites.tuning import choose, draw, plan_trials

LR = LogUniform(0.001, 0.3)
SUITE = """
name = "small"
question = "?"
seeds = 2
metric = "{metric}"
datasets = ["spots"]
backbones = ["tiny"]
[settings]
clients = 3
rounds = 2
[tuning]
trials = 4
seeds = [100, 101]
{ranges}
[[entries]]
method = "local"
[[entries]]
method = "fedavg"
[[entries]]
name = "by hand"
method = "kit-tuned"
lr = 0.05
[[entries]]
method = "kit-tuned"
"""


@pytest.fixture
def suite(kit, tmp_path):  # noqa: ARG001  # its methods must be installed
    """Read a suite with tuning."""

    def read(old: str = "", new: str = "", *, metric: str = "personalization", ranges: str = ""):
        path = tmp_path / "small.toml"
        path.write_text(SUITE.format(metric=metric, ranges=ranges).replace(old, new))
        return read_suite(path)

    return read


def test_first_trial_is_the_default_and_more_trials_change_no_other() -> None:
    drawn = draw("small", {"lr": LR}, 64)
    assert drawn[0] == {}
    assert drawn[:16] == draw("small", {"lr": LR}, 16)
    logs = np.log([trial["lr"] for trial in drawn[1:]])
    halves = np.histogram(logs, bins=np.log(np.geomspace(0.001, 0.3, 9)))[0]
    assert halves.min() >= 6  # 63 points in 8 parts of the range


def test_entries_with_a_setting_in_common_have_its_values_in_common() -> None:
    alone = draw("small", {"lr": LR}, 8)
    other = draw("small", {"lr": LR, "local_update.mu": LogUniform(0.1, 1)}, 8)
    assert [trial.get("lr") for trial in alone] == [trial.get("lr") for trial in other]
    correlation = np.corrcoef([np.log(list(trial.values())) for trial in draw_two(64)[1:]], rowvar=False)[0, 1]
    assert abs(correlation) < 0.2
    assert draw("another", {"lr": LR}, 8) != alone


def draw_two(trials):
    return draw("small", {"lr": LR, "mu": LogUniform(0.1, 1)}, trials)


def test_trials_are_runs_with_tuning_seeds_that_are_validated_after_the_last_round(suite) -> None:
    planned = {one.point.entry: one for one in plan_trials(suite())}
    assert {len(one.settings) for one in planned.values()} == {4}
    assert planned["local"].settings == planned["fedavg"].settings
    for one in planned.values():
        assert [[run.seed for run in runs] for runs in one.runs] == [[100, 101]] * 4
        assert {(run.spec.evaluate_on, run.spec.evaluate_every) for runs in one.runs for run in runs} == {("val", 2)}
    assert planned["by hand"].fixed == ("lr",)
    assert set(planned["by hand"].settings[1]) == {"local_update.mu"}
    assert set(planned["kit-tuned"].settings[1]) == {"lr", "local_update.mu"}
    run = planned["kit-tuned"].runs[1][0]
    assert (run.spec.lr, run.spec.set["local_update.mu"]) == tuple(planned["kit-tuned"].settings[1].values())


def test_suite_may_give_other_ranges(suite) -> None:
    found = plan_trials(suite(ranges='ranges = {lr = {low = 0.5, high = 0.6}, "local_update.mu" = {values = [1, 2]}}'))
    drawn = [trial for one in found if one.point.entry == "kit-tuned" for trial in one.settings[1:]]
    assert all(0.5 <= trial["lr"] <= 0.6 and trial["local_update.mu"] in (1, 2) for trial in drawn)


WRONG = {
    "evaluation seed": ("seeds = [100, 101]", "seeds = [100, 1]", "tuning.seeds: 1 is also a seed of the suite"),
    "no trials": ("trials = 4", "trials = 0", "tuning.trials: got 0; input should be greater than or equal to 1"),
    "own budget": ("lr = 0.05", "trials = 8", "all entries get the same number of trials"),
    "beyond limits": ("101]", '101]\nranges = {"local_update.mu" = {low = 1, high = 9}}', "mu=9.*and <= 2"),
    "no such setting": ("101]", "101]\nranges = {rounds = {low = 1, high = 9}}", "No tuned setting .*'rounds'.*lr"),
    "no range": ("101]", "101]\nranges = {lr = {low = 1, high = 0.5}}", "expected 0 < low < high"),
    "no tuning": ("[tuning]\ntrials = 4\nseeds = [100, 101]", "", r"has no \[tuning\]"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_request_is_refused_before_anything_runs(suite, case) -> None:
    old, new, message = WRONG[case]
    with pytest.raises(RequestError, match=message):
        plan_trials(suite(old, new))


def records(planned, score):
    """Filed records by key; `score(trial, seed)` is the validation score, None for no record."""
    costs = {
        "training_gflops": 0.5,
        "aggregation_gflops": 0.25,
        "prediction_gflops": 0.25,
        "bytes_up": 3,
        "bytes_down": 2,
        "bytes_peer": 0,
    }
    found = {}
    for one in planned:
        for number, runs in enumerate(one.runs):
            for run in runs:
                if (value := score(number, run.seed)) is not None:
                    metrics = {"personalization": value, "ece": value}
                    spec = json.loads(run.spec.model_dump_json())
                    record = {
                        "spec": spec | {"set": {}},
                        "versions": {},
                        "curve": [{"round": 1, **metrics}],
                        "costs": costs,
                    }
                    found[run.key] = (None, record)
    return found


@pytest.fixture
def unchecked(monkeypatch):
    """Records are made here, with settings that are not resolved."""
    monkeypatch.setattr("fedbench_core.suites.tuning.changes", lambda *_: [])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("scores", "metric", "chosen"),
    [
        ([(0.5, 0.7), (0.65, 0.65), (0.9, 0.1), (0.1, 0.1)], "personalization", 1),
        ([(0.5, 0.7), (0.65, 0.65), (0.9, 0.1), (0.1, 0.1)], "ece", 3),
        ([(0.5, 0.5), (0.5, 0.5), (0.5, 0.5), (0.5, 0.5)], "personalization", 0),
        ([(0.5, 0.5), (1.0, None), (None, 1.0), (0.4, 0.4)], "personalization", 0),
        ([(None, 0.9), (0.1, 0.1), (0.2, 0.2), (None, None)], "personalization", 2),
    ],
)
def test_best_mean_over_seeds_is_chosen_and_failed_trials_are_worst(suite, scores, metric, chosen) -> None:
    read = suite(metric=metric)
    planned = plan_trials(read)
    found = choose(read, planned, records(planned, lambda trial, seed: scores[trial][seed - 100]), {})
    assert {choice.chosen for choice in found.choices} == {chosen}
    failed = sum(None in pair for pair in scores)
    for choice in found.choices:
        count = 8 - sum(score is None for pair in scores for score in pair)
        assert (choice.failed, choice.gflops, choice.bytes_sent) == (failed, count, 5 * count)


@pytest.mark.usefixtures("unchecked")
def test_entry_whose_trials_all_failed_is_not_tuned(suite) -> None:
    read = suite()
    assert choose(read, plan_trials(read), {}, {}).choices == ()


@pytest.mark.usefixtures("unchecked")
def test_chosen_settings_are_grid_points_until_what_was_tuned_changes(suite, tmp_path) -> None:
    planned = plan_trials(read := suite())
    choices = choose(read, planned, records(planned, lambda trial, _: trial / 10), {})
    write_choices(choices_file(tmp_path / "small.toml"), choices)
    assert read_choices(choices_file(tmp_path / "small.toml")) == choices
    points = suite().grid_points()
    assert [point.tuned for point in points] == [False, True] * 8
    tuned = next(point for point in points if point.tuned and point.entry == "kit-tuned")
    settings = planned[-1].settings[3]
    assert (tuned.spec.lr, tuned.spec.set) == (settings["lr"], {"local_update.mu": settings["local_update.mu"]})
    assert not any(point.tuned for point in suite("trials = 4", "trials = 5").grid_points())
    assert [point.tuned for point in suite("seeds = 2", "seeds = 3").grid_points()] == [False, True] * 12


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("values", "edges"),
    [
        ("{low = 0.001, high = 0.002}", {"lr": 0.002}),  # the default, which is the end of the range
        ("{low = 0.0001, high = 0.02}", {}),
        ("{values = [0.1, 0.2, 0.3]}", {"lr": 0.002}),
        ("{values = [0.1, 0.3]}", {}),
    ],
)
def test_default_at_the_edge_of_its_range_is_known(suite, values, edges) -> None:
    planned = plan_trials(read := suite(ranges=f"ranges = {{lr = {values}}}"))
    found = choose(read, planned, records(planned, lambda trial, _: float(trial == 0)), {})
    by_entry = {choice.entry: choice.edges for choice in found.choices}
    assert by_entry["local"] == edges
    assert "lr" not in by_entry["by hand"]  # which sets it itself


@pytest.mark.usefixtures("unchecked")
def test_drawn_choice_is_at_the_edge_by_its_value(suite) -> None:
    planned = plan_trials(read := suite(ranges="ranges = {lr = {low = 0.001, high = 1}}"))
    for at in range(1, 4):
        value = planned[0].settings[at]["lr"]
        found = choose(read, planned, records(planned, lambda trial, _, at=at: float(trial == at)), {})
        assert found.choices[0].edges == ({"lr": value} if not 0.002 <= value <= 0.5 else {})


@pytest.mark.parametrize("text", ["{", '{"suite": "small"}', '{"suite": "small", "choices": [{"entry": 3}]}'])
def test_damaged_file_of_choices_is_refused(suite, tmp_path, text) -> None:
    choices_file(tmp_path / "small.toml").write_text(text)
    with pytest.raises(RequestError, match=r"small\.tuned\.json"):
        suite()


def test_record_with_other_settings_than_its_trial_is_refused(suite) -> None:
    planned = plan_trials(read := suite())
    other = records(planned, lambda *_: 0.5)
    with pytest.raises(RunError, match="was run with"):
        choose(read, planned, other, {})


def test_entry_that_failed_on_one_dataset_is_told_although_it_is_tuned_on_another(suite) -> None:
    planned = plan_trials(suite('datasets = ["spots"]', 'datasets = ["spots", "phantom"]'))
    failed = [one for one in planned if (one.point.entry, one.point.dataset) == ("local", "phantom")]
    outcomes = Unrecorded(failed={run.name: "lost" for one in failed for runs in one.runs for run in runs[:1]})
    chosen = [one.point for one in planned if one not in failed]
    choices = Choices.model_construct(choices=[SimpleNamespace(case=_case(point)) for point in chosen])
    assert _without_choice(planned, choices, outcomes) == ["local"]


def _case(point) -> tuple[str, ...]:
    return point.entry, point.dataset, point.partition, point.backbones


def test_one_method_under_two_names_has_the_same_trials_and_so_the_same_choice(suite) -> None:
    twins = plan_trials(suite('method = "local"', 'method = "fedavg"\nname = "twin"'))[:2]
    assert [one.point.entry for one in twins] == ["twin", "fedavg"]
    keys = [[[run.key for run in runs] for runs in one.runs] for one in twins]
    assert keys[0] == keys[1]
