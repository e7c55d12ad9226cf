"""The data of figures."""

import numpy as np
import pytest

from fedbench_core.leaderboard.columns import metric
from fedbench_core.leaderboard.curves import band_text
from fedbench_core.leaderboard.figures import (
    curves_figure,
    dataset_figures,
    leaderboard_figures,
    partition_figure,
    tradeoff_figure,
)
from fedbench_core.leaderboard.pages import read_leaderboard


def run(*points: tuple[int, float | None], split: str = "val") -> dict:
    """A record with a learning curve of (round, score)."""
    return {"curve": [{"round": round_, "split": split, "auc": score} for round_, score in points]}


def curves(runs) -> dict:
    figure = curves_figure(runs, metric("auc"))
    return {} if figure is None else dict(figure.data)


def test_curve_is_the_mean_over_seeds_at_each_round_and_rounds_count_from_one() -> None:
    found = curves({"a": {0: run((0, 0.2), (2, 0.6)), 1: run((0, 0.4), (2, 0.8))}})
    rounds, mean, low, high = found["a"]
    assert rounds == [1, 3]
    assert mean == pytest.approx([0.3, 0.7])
    assert (np.array(high) - mean).tolist() == pytest.approx(
        [12.706 * 0.1] * 2, rel=1e-4
    )  # t with one degree of freedom
    assert (np.array(mean) - low).tolist() == pytest.approx([12.706 * 0.1] * 2, rel=1e-4)


def test_band_text_has_the_numbers_of_seeds() -> None:
    three, two, one = ({seed: run((0, 0.5)) for seed in range(count)} for count in (3, 2, 1))
    assert band_text({"a": three, "b": three}) == "mean of 3 seeds with its 95 % interval"
    assert band_text({"a": three, "b": two}) == "mean of 2 to 3 seeds with its 95 % interval"
    assert band_text({"a": one}) == "one seed"


def test_scores_on_test_images_are_not_in_learning_curves() -> None:
    """Trap 1: selection on test data."""
    assert curves({"a": {0: run((0, 0.9), split="test")}}) == {}
    assert list(curves({"a": {0: run((0, 0.9), split="test")}, "b": {0: run((0, 0.5), (1, 0.6))}})) == ["b"]


def test_single_round_is_a_curve_only_beside_a_longer_one() -> None:
    assert curves({"a": {0: run((4, 0.5))}, "b": {0: run((4, 0.6))}}) == {}
    assert list(curves({"a": {0: run((4, 0.5))}, "b": {0: run((2, 0.5), (4, 0.6))}})) == ["a", "b"]


def test_undefined_scores_are_left_out_of_curves() -> None:
    [rounds, mean, *_] = curves({"a": {0: run((0, None), (1, 0.4)), 1: run((0, 0.2), (1, 0.6))}})["a"]
    assert (rounds, mean) == ([1, 2], pytest.approx([0.2, 0.5]))


def test_tradeoff_has_bytes_per_client_and_round_and_centralized_training_as_reference(suite_folder) -> None:
    """6 MB up and 3 MB down for three clients in two rounds."""
    file = suite_folder.suite()
    suite_folder.fill(file)
    points = {point.name: point for point in tradeoff_figure(read_leaderboard(file).tables[0]).data}
    assert {name: point.bytes for name, point in points.items()} == {
        "centralized": 0,
        "fedavg-ft": 1_500_000,
        "fedavg": 1_500_000,
        "local": 0,
        "local, equal FLOPs": 0,
        "majority": 0,
    }
    assert [name for name, point in points.items() if point.reference] == ["centralized"]
    assert points["fedavg"].low < points["fedavg"].score < points["fedavg"].high


def test_partition_is_that_of_the_record(suite_folder) -> None:
    record = suite_folder.template
    counts, classes = partition_figure("spots", record).data
    assert np.sum(counts) == record["data"]["images"]["train"]
    assert classes == ["kind 0", "kind 1", "kind 2"]


def test_critical_difference_diagram_requires_significant_ranks(suite_folder) -> None:
    few = suite_folder.suite("few", datasets=["d0", "d1"], seeds=2)
    many = suite_folder.suite("many", datasets=[f"d{n}" for n in range(6)], seeds=2)
    equal = suite_folder.suite("equal", datasets=[f"d{n}" for n in range(6)], seeds=2)
    suite_folder.fill(few)
    suite_folder.fill(many)
    suite_folder.fill(equal, lambda grid_point: 10)  # noqa: ARG005  # all entries are equal
    assert dataset_figures(read_leaderboard(few)) == []
    assert dataset_figures(read_leaderboard(equal)) == []
    leaderboard = read_leaderboard(many)
    [figure] = dataset_figures(leaderboard)
    assert figure.name == "many-ranks"
    assert figure.data == (leaderboard.over_datasets.ranks, leaderboard.over_datasets.critical_difference)


def test_figures_of_tables_have_distinct_names_with_their_case(suite_folder) -> None:
    file = suite_folder.suite(partitions=[{"name": "IID", "partitioner": "iid"}, {"name": "Dirichlet 0.3"}], seeds=2)
    suite_folder.fill(file)
    of_tables, _ = leaderboard_figures(read_leaderboard(file))
    names = [figure.name for own in of_tables for figure in own]
    assert len(set(names)) == len(names) == 6
    assert "small-spots-dirichlet-0.3-tiny-curves" in names
    assert all("IID" in figure.alt_text for figure in of_tables[0])


def test_figures_of_cases_with_alike_names_have_files_of_their_own(suite_folder) -> None:
    rows = [{"name": name, "partitioner": "dirichlet", "set": {"partitioner.alpha": at}} for name, at in ALIKE]
    file = suite_folder.suite(partitions=rows)
    suite_folder.fill(file)
    of_tables, _ = leaderboard_figures(read_leaderboard(file))
    names = [figure.name for figures in of_tables for figure in figures]
    assert len(set(names)) == len(names) == 6


ALIKE = [("≥ 3", 0.3), ("≤ 3", 0.2)]
