import pytest

from fedbench_core import RunSpec, run
from fedbench_core.api import RequestError
from fedbench_core.results.plots import FORMATS, plot_matrix
from fedbench_core.results.run import How

STARTS = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}


@pytest.fixture(scope="module")
def record(kit, tmp_path_factory) -> dict:  # noqa: ARG001  # its parts must be installed
    settings = {"method": "kit-ring", "backbones": "tiny,wide", "dataset": "spots", "clients": 3, "rounds": 1}
    return run(RunSpec.of(settings), How(out=tmp_path_factory.mktemp("runs"), executor="serial")).record


@pytest.mark.parametrize("ending", FORMATS)
def test_the_matrix_is_drawn(ending, record, tmp_path) -> None:
    plot_matrix(record, tmp_path / f"matrix{ending}")
    assert (tmp_path / f"matrix{ending}").read_bytes().startswith(STARTS[ending])


def test_the_picture_says_whose_scores_it_shows(record, tmp_path) -> None:
    import matplotlib as mpl  # noqa: PLC0415  # for its setting

    with mpl.rc_context({"svg.fonttype": "none"}):  # words stay words
        plot_matrix(record, tmp_path / "matrix.svg")
    text = (tmp_path / "matrix.svg").read_text()
    matrix = record["test"]["matrix"]
    assert f"{matrix[matrix['primary']][0][0]:.2f}" in text
    assert all(words in text for words in ("kit-ring on spots", "1 wide", "model of client", "accuracy"))


def test_a_name_that_is_no_pictures_is_refused(record, tmp_path) -> None:
    with pytest.raises(RequestError, match=r"\.svg, \.png, \.pdf"):
        plot_matrix(record, tmp_path / "matrix.txt")
