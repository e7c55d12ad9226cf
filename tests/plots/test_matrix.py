import pytest

from fedbench_core import RunSpec, run
from fedbench_core.plots.matrix import draw_matrix
from fedbench_core.runner import How


@pytest.fixture(scope="module")
def record(kit, tmp_path_factory) -> dict:  # noqa: ARG001  # its parts must be installed
    settings = {"method": "kit-ring", "backbones": "tiny,wide", "dataset": "spots", "clients": 3, "rounds": 1}
    return run(RunSpec.of(settings), How(out=tmp_path_factory.mktemp("runs"), executor="serial")).record


def test_the_picture_says_whose_scores_it_shows(record, words) -> None:
    seen = words(draw_matrix(record))
    matrix = record["test"]["matrix"]
    assert f"{matrix[matrix['primary']][0][0]:.2f}" in seen
    assert {"kit-ring on spots", "1 wide", "model of client", "accuracy"} <= set(seen)


def test_every_score_stands_where_its_model_and_its_distribution_cross(record) -> None:
    matrix = {"primary": "label", "label": [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]], "local": [[0.9] * 3] * 2}
    test = {**record["test"], "matrix": {**matrix, "predictor_of_client": [1, 0, 1]}}
    axes = draw_matrix({**record, "test": test}).axes[0]
    by_client = [[0.4, 0.5, 0.6], [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]
    assert axes.images[0].get_array().tolist() == by_client
    for grid_point in axes.texts:
        column, row = map(int, grid_point.get_position())
        assert grid_point.get_text() == f"{by_client[row][column]:.2f}"
        assert grid_point.get_color() == ("white" if by_client[row][column] < 0.5 else "black")
    assert len(axes.texts) == 9
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("distribution of client", "model of client")


def test_the_title_tells_what_is_read_off_it(record, words) -> None:
    metrics = {"personalization": 0.75, "generalization": None}
    seen = words(draw_matrix({**record, "test": {**record["test"], "metrics": metrics}}))
    assert {"personalization 0.750", "generalization undefined"} <= set(seen)


def test_many_clients_leave_no_room_for_numbers(record) -> None:
    many = {"primary": "label", "label": [[0.5] * 13], "predictor_of_client": [0] * 13}
    changed = {"test": {**record["test"], "matrix": many}, "population": {"backbones": ["tiny"] * 13}}
    assert not draw_matrix({**record, **changed}).axes[0].texts


def test_what_is_undefined_is_a_dash(record, words) -> None:
    matrix = record["test"]["matrix"]
    holed = [[None, *row[1:]] for row in matrix[matrix["primary"]]]
    test = {**record["test"], "matrix": {**matrix, matrix["primary"]: holed}}
    assert words(draw_matrix({**record, "test": test})).count("–") == 3
