"""The numbers that pictures show."""

import numpy as np
import pytest

from fedbench_core.leaderboard.columns import metric
from fedbench_core.leaderboard.illustrations import _band, bubbles, curves, of_leaderboard, over_datasets, tradeoff
from fedbench_core.leaderboard.shelf import read_leaderboard


def run(*points: tuple[int, float | None], split: str = "val") -> dict:
    """A record with a learning curve."""
    return {"curve": [{"round": round_, "split": split, "auc": score} for round_, score in points]}


def numbers(runs) -> dict:
    picture = curves(runs, metric("auc"))
    return {} if picture is None else dict(picture.numbers)


def test_a_curve_is_the_mean_over_seeds_at_each_round_and_rounds_count_from_one() -> None:
    found = numbers({"a": {0: run((0, 0.2), (2, 0.6)), 1: run((0, 0.4), (2, 0.8))}})
    rounds, mean, low, high = found["a"]
    assert rounds == [1, 3]
    assert mean == pytest.approx([0.3, 0.7])
    assert (np.array(high) - mean).tolist() == pytest.approx([12.706 * 0.1] * 2, rel=1e-4)  # t with one degree
    assert (np.array(mean) - low).tolist() == pytest.approx([12.706 * 0.1] * 2, rel=1e-4)


def test_a_band_says_of_how_many_seeds_it_is() -> None:
    three, two, one = ({seed: run((0, 0.5)) for seed in range(count)} for count in (3, 2, 1))
    assert _band({"a": three, "b": three}) == "mean of 3 seeds with its 95 % interval"
    assert _band({"a": three, "b": two}) == "mean of 2 to 3 seeds with its 95 % interval"
    assert _band({"a": one}) == "one seed"


def test_points_on_test_images_are_no_learning_curve() -> None:
    """Trap 1: who watches them, chooses by them."""
    assert numbers({"a": {0: run((0, 0.9), split="test")}}) == {}
    assert list(numbers({"a": {0: run((0, 0.9), split="test")}, "b": {0: run((0, 0.5), (1, 0.6))}})) == ["b"]


def test_one_round_is_no_curve_unless_another_entry_has_more() -> None:
    assert numbers({"a": {0: run((4, 0.5))}, "b": {0: run((4, 0.6))}}) == {}
    assert list(numbers({"a": {0: run((4, 0.5))}, "b": {0: run((2, 0.5), (4, 0.6))}})) == ["a", "b"]


def test_undefined_points_are_left_out() -> None:
    [rounds, mean, *_] = numbers({"a": {0: run((0, None), (1, 0.4)), 1: run((0, 0.2), (1, 0.6))}})["a"]
    assert (rounds, mean) == ([1, 2], pytest.approx([0.2, 0.5]))


def test_bytes_and_references_by_hand(shelf) -> None:
    """6 MB up and 3 MB down of three clients in two rounds; images of all clients in one place are a reference."""
    file = shelf.suite()
    shelf.fill(file)
    points = {point.name: point for point in tradeoff(read_leaderboard(file).tables[0]).numbers}
    assert {name: point.bytes for name, point in points.items()} == {
        "centralized": 0,
        "fedavg-ft": 1_500_000,
        "fedavg": 1_500_000,
        "local": 0,
        "local, equal FLOPs": 0,
    }
    assert [name for name, point in points.items() if point.reference] == ["centralized"]
    assert points["fedavg"].low < points["fedavg"].score < points["fedavg"].high


def test_shares_are_those_of_the_run(shelf) -> None:
    record = shelf.template
    counts, classes = bubbles("spots", record).numbers
    assert np.sum(counts) == record["data"]["images"]["train"]
    assert classes == ["kind 0", "kind 1", "kind 2"]


def test_the_diagram_over_datasets_is_drawn_only_with_a_claim(shelf) -> None:
    few = shelf.suite("few", datasets=["d0", "d1"], seeds=2)
    many = shelf.suite("many", datasets=[f"d{n}" for n in range(6)], seeds=2)
    equal = shelf.suite("equal", datasets=[f"d{n}" for n in range(6)], seeds=2)
    shelf.fill(few)
    shelf.fill(many)
    shelf.fill(equal, lambda grid_point: 10)  # noqa: ARG005  # all entries alike
    assert over_datasets(read_leaderboard(few)) == []
    assert over_datasets(read_leaderboard(equal)) == []
    leaderboard = read_leaderboard(many)
    [picture] = over_datasets(leaderboard)
    assert picture.name == "many-ranks"
    assert picture.numbers == (leaderboard.across.ranks, leaderboard.across.critical_difference)


def test_every_picture_has_a_name_of_its_own_that_says_what_of(shelf) -> None:
    file = shelf.suite(partitions=[{"name": "IID", "partitioner": "iid"}, {"name": "Dirichlet 0.3"}], seeds=2)
    shelf.fill(file)
    of_tables, _ = of_leaderboard(read_leaderboard(file))
    names = [picture.name for own in of_tables for picture in own]
    assert len(set(names)) == len(names) == 6
    assert "small-spots-dirichlet-0.3-tiny-curves" in names
    assert all("IID" in picture.words for picture in of_tables[0])
