import numpy as np

from fedbench_core.plots.curve import Curve
from fedbench_core.plots.curves import draw_curves
from fedbench_core.plots.style import look
from fedbench_core.plots.tradeoff import Point, draw_tradeoff


def curve(offset: float, rounds: int = 4) -> Curve:
    mean = np.linspace(0, 0.5, rounds) + offset
    return Curve(np.arange(1, rounds + 1), mean, mean - 0.1, mean + 0.1)


def test_each_entry_has_a_panel_with_its_band_and_the_other_curves() -> None:
    entries = {f"entry {n}": curve(n / 10) for n in range(5)}
    figure = draw_curves(entries, "personalization", "mean of 12 seeds")
    overlay, *panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [line.get_label() for line in overlay.lines] == list(entries)
    looks = [(line.get_color(), line.get_marker()) for line in overlay.lines]
    assert looks == [(axes.lines[-1].get_color(), axes.lines[-1].get_marker()) for axes in panels]
    assert [axes.get_title() for axes in panels] == list(entries)
    for axes, own in zip(panels, entries.values(), strict=True):
        assert len(axes.lines) == 5
        assert np.array_equal(axes.lines[-1].get_ydata(), own.mean)
        [band] = axes.collections
        low, high = band.get_datalim(axes.transData).get_points()[:, 1]
        assert (low, high) == (own.low.min(), own.high.max())


def test_entry_keeps_its_color_and_marker_in_every_picture() -> None:
    numbers = {"one": 4, "other": 2}
    curves = draw_curves({"other": curve(0), "one": curve(0.1)}, "auc", "one seed", numbers=numbers)
    points = [Point(name, 1e6 * n, 0.5, None, None) for n, name in enumerate(numbers, start=1)]
    plotted = draw_tradeoff(points, "auc", numbers=numbers)
    by_name = {line.get_label(): line for line in curves.axes[0].lines}
    handles = {line.get_label(): line for line in plotted.legends[0].legend_handles}
    for name, number in numbers.items():
        for line in (by_name[name], handles[name]):
            assert (line.get_color(), line.get_marker()) == tuple(look(number).values())


def test_single_round_is_drawn_as_a_point() -> None:
    figure = draw_curves({"alone": curve(0, rounds=1)}, "auc", "one seed")
    [panel] = figure.axes
    assert panel.lines[-1].get_marker() == "o"
