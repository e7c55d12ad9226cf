import re

import pytest

from fedbench_core.api import RequestError
from fedbench_core.leaderboard.budget import read_budget, within_budgets
from fedbench_core.records.costs import bytes_per_turn


def record(up=0, down=0, peer=0, gflops=1.0, seconds=2.0, clients=2, rounds=5) -> dict:
    costs = {"bytes_up": up, "bytes_down": down, "bytes_peer": peer, "training_gflops": gflops}
    costs |= {"aggregation_gflops": 0.0, "prediction_gflops": 0.0}
    return {
        "population": {"trained": clients},
        "spec": {"rounds": rounds},
        "costs": costs,
        "how": {"seconds": seconds},
    }


@pytest.mark.parametrize(
    ("text", "kind", "limit"),
    [
        ("bytes=10MB", "bytes", 1e7),
        ("bytes=1.5 kB", "bytes", 1500),
        ("bytes=10mb", "bytes", 1e7),
        ("bytes=2MiB", "bytes", 2**21),
        ("bytes=7", "bytes", 7),
        ("gflops=500", "gflops", 500),
        ("gflops=2TFLOPs", "gflops", 2000),
        ("seconds=2min", "seconds", 120),
        ("seconds=.5", "seconds", 0.5),
    ],
)
def test_budget_is_read_with_its_unit(text, kind, limit) -> None:
    budget = read_budget(text)
    assert (budget.kind, budget.limit) == (kind, pytest.approx(limit))


@pytest.mark.parametrize(
    "text", ["", "bytes", "bytes=", "bytes=many", "bytes=1m", "byte=1", "bytes=-1", "gflops=1MB", "=1"]
)
def test_budget_that_is_malformed_is_refused(text) -> None:
    with pytest.raises(RequestError, match=re.escape(f"--budget {text}: ")):
        read_budget(text)


def test_bytes_are_per_client_and_round_and_each_message_is_counted_once() -> None:
    assert bytes_per_turn(record(up=600, down=300, peer=100)) == pytest.approx(100)


def test_entry_at_the_limit_is_kept_and_one_above_is_left_out() -> None:
    runs = {"on": {0: record(up=100)}, "over": {0: record(up=100), 1: record(up=102)}, "none": {0: record()}}
    kept, left_out = within_budgets(runs, [read_budget("bytes=10B")])
    assert list(kept) == ["on", "none"]
    assert [str(over) for over in left_out] == ["over (10.1 B)"]


def test_entry_is_left_out_with_the_first_budget_that_it_exceeds() -> None:
    runs = {"dear": {0: record(up=1000, gflops=9, seconds=9)}, "slow": {0: record(seconds=9)}, "cheap": {0: record()}}
    kept, left_out = within_budgets(runs, [read_budget("bytes=1B"), read_budget("seconds=5")])
    assert list(kept) == ["cheap"]
    assert [(over.entry, over.budget.kind) for over in left_out] == [("dear", "bytes"), ("slow", "seconds")]


def test_cost_that_was_not_measured_exceeds_any_budget() -> None:
    kept, left_out = within_budgets({"a": {0: record(gflops=None)}}, [read_budget("gflops=1000")])
    assert not kept
    assert (left_out[0].entry, left_out[0].cost) == ("a", None)
