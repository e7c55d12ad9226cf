import pytest

from fedbench_core import RunSpec, run
from fedbench_core.plots.matrix import draw_matrix
from fedbench_core.runner import How


@pytest.fixture(scope="module")
def record(kit, tmp_path_factory) -> dict:  # noqa: ARG001  # installed
    settings = {"method": "kit-ring", "backbones": "tiny,wide", "dataset": "spots", "clients": 3, "rounds": 1}
    return run(RunSpec.of(settings), How(out=tmp_path_factory.mktemp("runs"), executor="serial")).record


def test_matrix_has_scores_title_and_labels(record, words) -> None:
    seen = words(draw_matrix(record))
    matrix = record["test"]["matrix"]
    assert f"{matrix[matrix['primary']][0][0]:.2f}" in seen
    assert {"kit-ring on spots", "1 wide", "model of client", "accuracy"} <= set(seen)


def test_scores_are_in_the_row_of_the_model_and_the_column_of_the_distribution(record) -> None:
    matrix = {"primary": "label", "label": [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]], "local": [[0.9] * 3] * 2}
    test = {**record["test"], "matrix": {**matrix, "predictor_of_client": [1, 0, 1]}}
    axes = draw_matrix({**record, "test": test}).axes[0]
    by_client = [[0.4, 0.5, 0.6], [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]
    assert axes.images[0].get_array().tolist() == by_client
    for text in axes.texts:
        column, row = map(int, text.get_position())
        assert text.get_text() == f"{by_client[row][column]:.2f}"
        assert text.get_color() == ("white" if by_client[row][column] < 0.5 else "black")
    assert len(axes.texts) == 9
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("distribution of client", "model of client")


def test_title_has_personalization_and_generalization(record, words) -> None:
    metrics = {"personalization": 0.75, "generalization": None}
    seen = words(draw_matrix({**record, "test": {**record["test"], "metrics": metrics}}))
    assert {"personalization 0.750", "generalization undefined"} <= set(seen)


def test_numbers_are_left_out_for_many_clients(record) -> None:
    many = {"primary": "label", "label": [[0.5] * 13], "predictor_of_client": [0] * 13}
    changed = {"test": {**record["test"], "matrix": many}, "population": {"backbones": ["tiny"] * 13}}
    assert not draw_matrix({**record, **changed}).axes[0].texts


def test_undefined_score_is_a_dash(record, words) -> None:
    matrix = record["test"]["matrix"]
    undefined = [[None, *row[1:]] for row in matrix[matrix["primary"]]]
    test = {**record["test"], "matrix": {**matrix, matrix["primary"]: undefined}}
    assert words(draw_matrix({**record, "test": test})).count("–") == 3


def test_client_without_a_model_has_an_empty_row(record) -> None:
    matrix = {"primary": "label", "label": [[0.1, 0.2, 0.3]], "local": [[0.9] * 3]}
    test = {**record["test"], "matrix": {**matrix, "predictor_of_client": [None, 0, None]}}
    rows = draw_matrix({**record, "test": test}).axes[0].images[0].get_array().tolist()
    assert rows[1] == [0.1, 0.2, 0.3]
    assert all(score is None or score != score for score in rows[0] + rows[2])  # noqa: PLR0124  # NaN
