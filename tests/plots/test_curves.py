import numpy as np

from fedbench_core.plots.curves import Curve, draw_curves


def curve(offset: float, rounds: int = 4) -> Curve:
    mean = np.linspace(0, 0.5, rounds) + offset
    return Curve(np.arange(1, rounds + 1), mean, mean - 0.1, mean + 0.1)


def test_each_entry_has_a_panel_with_its_band_and_the_other_curves() -> None:
    entries = {f"entry {n}": curve(n / 10) for n in range(5)}
    figure = draw_curves(entries, "personalization", "mean of 12 seeds")
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title() for axes in panels] == list(entries)
    for axes, own in zip(panels, entries.values(), strict=True):
        assert len(axes.lines) == 5
        assert np.array_equal(axes.lines[-1].get_ydata(), own.mean)
        [band] = axes.collections
        low, high = band.get_datalim(axes.transData).get_points()[:, 1]
        assert (low, high) == (own.low.min(), own.high.max())


def test_single_round_is_drawn_as_a_point() -> None:
    figure = draw_curves({"alone": curve(0, rounds=1)}, "auc", "one seed")
    [panel] = figure.axes
    assert panel.lines[-1].get_marker() == "o"
