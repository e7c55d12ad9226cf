import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench_core import RunSpec
from fedbench_core.federation.participation import participating


def _participants(round_=0, clients=10, method="local", **settings):
    return participating(RunSpec(method=method, **settings), clients, round_)


@given(
    clients=st.integers(1, 60),
    fraction=st.floats(0.01, 1),
    dropout=st.floats(0, 0.95),
    seed=st.integers(0, 99),
    round_=st.integers(0, 50),
)
def test_those_present_are_different_sorted_clients(clients, fraction, dropout, seed, round_) -> None:
    there = _participants(round_, clients, fraction=fraction, dropout=dropout, seed=seed)
    assert there == sorted(set(there))
    assert set(there) <= set(range(clients))
    assert len(there) <= max(1, int(fraction * clients + 1e-9))


@pytest.mark.parametrize(
    ("fraction", "clients", "size"),
    [(1, 7, 7), (0.5, 7, 3), (0.1, 10, 1), (0.3, 10, 3), (0.29, 100, 29), (0.01, 10, 1)],
)
def test_a_fraction_is_reached_exactly_in_every_round(fraction, clients, size) -> None:
    assert {len(_participants(round_, clients, fraction=fraction)) for round_ in range(40)} == {size}


def test_everyone_comes_sooner_or_later_and_rounds_differ() -> None:
    rounds = [tuple(_participants(round_, 8, fraction=0.25)) for round_ in range(60)]
    assert {client for there in rounds for client in there} == set(range(8))
    assert len(set(rounds)) > 10


def test_dropout_removes_about_its_part() -> None:
    came = sum(len(_participants(round_, 50, dropout=0.3)) for round_ in range(100))
    assert came / 5000 == pytest.approx(0.7, abs=0.02)


def test_a_round_may_have_nobody() -> None:
    assert [] in [_participants(round_, 2, dropout=0.8) for round_ in range(20)]


def test_who_comes_follows_from_the_seed_alone() -> None:
    asked = {"fraction": 0.4, "dropout": 0.2}
    rounds = [_participants(r, **asked) for r in range(20)]
    assert rounds == [_participants(r, method="fedavg", lr=0.5, backbones="vit", **asked) for r in range(20)]
    assert rounds != [_participants(r, seed=1, **asked) for r in range(20)]


def test_a_dropout_takes_from_the_sample_and_changes_nobody_elses() -> None:
    for round_ in range(20):
        sample = set(_participants(round_, 20, fraction=0.5))
        assert set(_participants(round_, 20, fraction=0.5, dropout=0.3)) <= sample
