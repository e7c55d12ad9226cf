import numpy as np
import pytest

from fedbench_core.plots.bubbles import draw_bubbles


def test_areas_are_in_proportion_to_images() -> None:
    counts = np.array([[100, 0], [25, 50]])
    [axes] = draw_bubbles(counts, ["benign", "malignant"], "title").axes
    [bubbles] = axes.collections
    where = [tuple(map(int, place)) for place in bubbles.get_offsets()]
    areas = dict(zip(where, bubbles.get_sizes(), strict=True))
    assert areas.keys() == {(0, 0), (1, 0), (1, 1)}
    assert areas[1, 0] / areas[0, 0] == pytest.approx(0.25)
    assert areas[1, 1] / areas[0, 0] == pytest.approx(0.5)


def test_numbers_where_there_is_room_and_names_always(words) -> None:
    few = words(draw_bubbles(np.array([[7, 0], [3, 12]]), ["benign", "malignant"], "who"))
    assert {"7", "0", "3", "12", "benign", "malignant", "who", "client"} <= set(few)
    many = words(draw_bubbles(np.full((40, 2), 123), ["benign", "malignant"], "who"))
    assert "123" not in many
    assert "malignant" in many
