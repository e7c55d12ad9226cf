import numpy as np
import pytest

from fedbench_core.plots.partition import draw_partition


def test_areas_are_proportional_to_numbers_of_images() -> None:
    counts = np.array([[100, 0], [25, 50]])
    [axes] = draw_partition(counts, ["benign", "malignant"], "title").axes
    [bubbles] = axes.collections
    positions = [tuple(map(int, position)) for position in bubbles.get_offsets()]
    areas = dict(zip(positions, bubbles.get_sizes(), strict=True))
    assert areas.keys() == {(0, 0), (1, 0), (1, 1)}
    assert areas[1, 0] / areas[0, 0] == pytest.approx(0.25)
    assert areas[1, 1] / areas[0, 0] == pytest.approx(0.5)


def test_numbers_are_written_for_few_clients_only(words) -> None:
    few = words(draw_partition(np.array([[7, 0], [3, 12]]), ["benign", "malignant"], "title"))
    assert {"7", "0", "3", "12", "benign", "malignant", "title", "client"} <= set(few)
    many = words(draw_partition(np.full((40, 2), 123), ["benign", "malignant"], "title"))
    assert "123" not in many
    assert "malignant" in many
