"""Scores of a method whose schedule repeats: means over the last whole period."""

import json

import pytest

from fedbench_core import run
from fedbench_core.api.errors import RunError
from fedbench_core.federation.assembly import resolve
from fedbench_core.federation.periods import mean_metrics, window, windows
from fedbench_core.parts.topologies import Ring, Star
from fedbench_core.records.record import comparable
from fedbench_core.records.scored import scored
from fedbench_core.runner import How

RING = {"backbones": "tiny,wide"}
"""Three clients: models are back where they were after three rounds."""


def test_period_of_a_ring_is_the_rounds_until_a_model_is_home() -> None:
    rings = {(clients, hops): Ring(hops).period(clients) for clients in (1, 6) for hops in (0, 1, 4, 6)}
    assert rings == {(1, 0): 1, (1, 1): 1, (1, 4): 1, (1, 6): 1, (6, 0): 1, (6, 1): 6, (6, 4): 3, (6, 6): 1}
    assert Star().period(6) == 1


def test_window_is_the_last_period_or_one_round_before_the_first_has_ended() -> None:
    assert [list(window(round_, 3)) for round_ in range(5)] == [[0], [1], [0, 1, 2], [1, 2, 3], [2, 3, 4]]
    assert [list(window(round_, 1)) for round_ in range(2)] == [[0], [1]]


def test_windows_hold_what_the_points_of_a_curve_need() -> None:
    assert sorted(windows(rounds=9, every=4, period=3)) == [1, 2, 3, 5, 6, 7]  # points after the 4th and 8th round
    assert sorted(windows(rounds=5, every=2, period=3)) == [1, 2, 3]  # the first point is of one round
    assert windows(rounds=5, every=0, period=3) == frozenset()


def test_mean_of_scores_leaves_out_rounds_without_one() -> None:
    found = [{"auc": None, "ece": 0.25, "n": 4}, {"auc": 0.5, "ece": 0.75, "n": 6}, {"auc": 1.0, "ece": None, "n": 8}]
    assert mean_metrics(found) == {"auc": 0.75, "ece": 0.5, "n": 8}
    assert mean_metrics(found[:1]) == found[0]


def test_record_keeps_every_round_of_the_last_period(go) -> None:
    """Each evaluation is the last one of a run that ends there: five rounds hold those of three, four and five."""
    record = go("kit-ring", rounds=5, **RING).record
    assert [one["round"] for one in scored(record).evaluations] == [2, 3, 4]
    for earlier in record["test"]["earlier"]:
        shorter = go("kit-ring", rounds=earlier["round"] + 1, **RING).record["test"]
        assert {**shorter, **earlier} == shorter
    personalization = [one["metrics"]["personalization"] for one in scored(record).evaluations]
    assert len(set(personalization)) > 1
    assert scored(record).metrics["personalization"] == pytest.approx(sum(personalization) / 3, abs=1e-12)


def test_curve_and_selected_round_follow_the_same_rule(go) -> None:
    record = go("kit-ring", rounds=5, **RING).record
    on_test = go("kit-ring", rounds=5, evaluate_on="test", **RING).record
    for round_ in range(5):
        shorter = scored(go("kit-ring", rounds=round_ + 1, **RING).record).metrics
        assert {**on_test["curve"][round_], **shorter} == on_test["curve"][round_]
        if record["selected"]["round"] == round_:
            assert record["selected"]["metrics"] == shorter
    assert record["selected"]["validation"] == max(point["personalization"] for point in record["curve"])


def test_points_between_which_rounds_are_left_out_are_means_of_the_same_rounds(go) -> None:
    every, sparse = (go("kit-ring", rounds=5, evaluate_every=n, **RING).record for n in (1, 4))
    assert sparse["curve"] == [every["curve"][3]]
    assert sparse["test"] == every["test"]


def test_run_shorter_than_a_period_is_scored_on_its_last_round(go) -> None:
    record = go("kit-ring", rounds=2, **RING).record
    assert "earlier" not in record["test"]
    assert [note for note in record["notes"] if "every 3 rounds" in note]
    assert not [note for note in go("kit-ring", rounds=3, **RING).record["notes"] if "every 3 rounds" in note]


def test_method_without_a_period_keeps_its_record(go) -> None:
    record = go("fedavg", rounds=4).record
    assert "earlier" not in record["test"]
    assert scored(record).metrics == record["test"]["metrics"]


@pytest.mark.parametrize("stop", [1, 3, 4])
def test_interrupted_period_is_continued_with_the_same_scores(stop, go, spec, tmp_path) -> None:
    def interrupt(event) -> None:
        if event.done == stop:
            raise KeyboardInterrupt

    asked, how = spec("kit-ring", rounds=5, **RING), How(out=tmp_path, executor="serial")
    with pytest.raises(KeyboardInterrupt):
        run(asked, how, interrupt)
    again, undisturbed = (comparable(one) for one in (run(asked, how).record, go("kit-ring", rounds=5, **RING).record))
    assert json.dumps(again, sort_keys=True) == json.dumps(undisturbed, sort_keys=True)


@pytest.mark.parametrize("period", [0, 1.5])
def test_topology_without_a_whole_period_is_refused(period, spec, monkeypatch) -> None:
    monkeypatch.setattr(Ring, "period", lambda _self, _clients: period)
    with pytest.raises(RunError, match=r"topology ring.*period"):
        resolve(spec("kit-ring", **RING))
