import pytest

from fedbench_core import RunSpec, run
from fedbench_core.results.pictures.matrix import draw_matrix
from fedbench_core.results.run import How


@pytest.fixture(scope="module")
def record(kit, tmp_path_factory) -> dict:  # noqa: ARG001  # its parts must be installed
    settings = {"method": "kit-ring", "backbones": "tiny,wide", "dataset": "spots", "clients": 3, "rounds": 1}
    return run(RunSpec.of(settings), How(out=tmp_path_factory.mktemp("runs"), executor="serial")).record


def test_the_picture_says_whose_scores_it_shows(record, words) -> None:
    seen = words(draw_matrix(record))
    matrix = record["test"]["matrix"]
    assert f"{matrix[matrix['primary']][0][0]:.2f}" in seen
    assert {"kit-ring on spots", "1 wide", "model of client", "accuracy"} <= set(seen)


def test_what_is_undefined_is_a_dash(record, words) -> None:
    matrix = record["test"]["matrix"]
    holed = [[None, *row[1:]] for row in matrix[matrix["primary"]]]
    test = {**record["test"], "matrix": {**matrix, matrix["primary"]: holed}}
    assert words(draw_matrix({**record, "test": test})).count("–") == 3
