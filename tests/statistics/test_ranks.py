from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench_core.statistics.pairs import compare
from fedbench_core.statistics.ranks import rank_intervals

SCORES = {
    "best": {0: 0.90, 1: 0.91, 2: 0.92, 3: 0.90},
    "middle": {0: 0.50, 1: 0.52, 2: 0.52, 3: 0.51},
    "level": {0: 0.51, 1: 0.50, 2: 0.53, 3: 0.52},
    "worst": {0: 0.10, 1: 0.12, 2: 0.11, 3: 0.11},
}


def test_entries_that_do_not_differ_significantly_share_their_ranks() -> None:
    found = rank_intervals(SCORES, compare(SCORES))
    assert found == {"best": (1, 1), "middle": (2, 3), "level": (2, 3), "worst": (4, 4)}


def test_order_is_reversed_where_less_is_better() -> None:
    found = rank_intervals(SCORES, compare(SCORES), more_is_better=False)
    assert found == {"best": (4, 4), "middle": (2, 3), "level": (2, 3), "worst": (1, 1)}


def test_all_ranks_are_possible_without_significant_differences() -> None:
    pairs = [replace(pair, significant=False) for pair in compare(SCORES)]
    assert set(rank_intervals(SCORES, pairs).values()) == {(1, 4)}


def test_single_entry_is_first() -> None:
    assert rank_intervals(["alone"], []) == {"alone": (1, 1)}


@given(st.lists(st.lists(st.integers(0, 20), min_size=5, max_size=5), min_size=2, max_size=6), st.booleans())
def test_interval_contains_the_rank_by_mean(rows, more) -> None:
    scores = {f"entry {i}": {seed: value / 20 for seed, value in enumerate(row)} for i, row in enumerate(rows)}
    means = {name: sum(own.values()) * (1 if more else -1) for name, own in scores.items()}
    for name, (first, last) in rank_intervals(scores, compare(scores), more_is_better=more).items():
        ahead = sum(other > means[name] + 1e-9 for other in means.values())
        behind = sum(other < means[name] - 1e-9 for other in means.values())
        assert first <= 1 + ahead <= len(rows) - behind <= last


@pytest.mark.parametrize("more", [True, False])
def test_method_under_two_names_has_one_rank(more) -> None:
    twins = {**SCORES, "best again": SCORES["best"]}
    found = rank_intervals(twins, compare(twins), more_is_better=more)
    assert found["best"] == found["best again"]
