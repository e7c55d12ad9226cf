import pytest
from matplotlib.figure import Figure

from fedbench_core.api import RequestError
from fedbench_core.plots.colors import COLORS
from fedbench_core.plots.style import FORMATS, save, wrapped

STARTS = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}


def draw() -> Figure:
    figure = Figure()
    figure.add_subplot().plot([0, 1], [0, 1], label="é & <x>")
    figure.legend()
    return figure


@pytest.mark.parametrize("suffix", FORMATS)
def test_equal_figures_have_equal_bytes(suffix, tmp_path) -> None:
    one, two = tmp_path / f"one{suffix}", tmp_path / f"two{suffix}"
    save(one, draw, "description")
    save(two, draw, "description")
    assert one.read_bytes().startswith(STARTS[suffix])
    assert one.read_bytes() == two.read_bytes()
    assert sorted(tmp_path.iterdir()) == [one, two], "no temporary files"


def test_svg_has_its_description_and_neither_date_nor_version(tmp_path) -> None:
    save(tmp_path / "a.svg", draw, "description 123")
    text = (tmp_path / "a.svg").read_text()
    assert "description 123" in text
    assert "dc:date" not in text
    assert "matplotlib.org" not in text.split("<metadata>")[1].split("</metadata>")[0]


def test_suffix_that_is_unknown_is_refused_before_drawing(tmp_path) -> None:
    with pytest.raises(RequestError, match=r"\.svg, \.png, \.pdf"):
        save(tmp_path / "a.txt", lambda: pytest.fail("drawn"))


def test_names_are_wrapped_without_losing_words() -> None:
    name = "fedavg with a compressor that keeps one in a hundred"
    lines = wrapped(name, 20).split("\n")
    assert max(map(len, lines)) <= 20
    assert " ".join(lines) == name
    assert wrapped("", 20) == ""


def test_colors_are_distinct_for_deuteranopes() -> None:
    """After Viénot's simulation of red-green blindness, no two colors are near (distance in RGB)."""
    import numpy as np  # noqa: PLC0415
    from matplotlib.colors import to_rgb  # noqa: PLC0415

    to_lms = np.array([[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]])
    blind = np.array([[1, 0, 0], [0.494207, 0, 1.24827], [0, 0, 1]])
    linear = np.array([to_rgb(color) for color in COLORS]) ** 2.2
    seen = np.clip(linear @ (np.linalg.inv(to_lms) @ blind @ to_lms).T, 0, 1) ** (1 / 2.2)
    distances = [np.linalg.norm(seen[i] - seen[j]) for i in range(len(seen)) for j in range(i)]
    assert min(distances) > 0.15
