"""Learning curves over the rounds, one panel for each entry before all the others."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fedbench_core.plots.style import BLUE, GREY, quiet_grid, wrapped

_TITLE_WIDTH = 24
_SINGLE = 12
"""Points that can be told apart on a curve, and are marked."""
_PANEL = 2.5
"""Inches of a panel's height."""


@dataclass(frozen=True)
class Curve:
    """An entry's scores on validation: `rounds` (n,) that were done, `mean`, `low` and `high` (n,) over seeds."""

    rounds: npt.NDArray[np.int64]
    mean: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]


def draw_curves(curves: Mapping[str, Curve], metric: str, band: str) -> Figure:
    """A panel for each entry: its own curve with its band, the others in gray behind it.

    metric: names the vertical axis. band: what the bands are.
    """
    columns = max(1, min(len(curves), 3))
    rows = max(1, math.ceil(len(curves) / columns))
    lines = max((wrapped(name, _TITLE_WIDTH).count("\n") for name in curves), default=0)
    figure = Figure(figsize=(9 if columns > 1 else 5.5, rows * (_PANEL + 0.22 * lines) + 0.8), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat
    for (name, curve), panel in zip(curves.items(), panels, strict=False):
        _panel(panel, curve, [other for key, other in curves.items() if key != name])
        panel.set_title(wrapped(name, _TITLE_WIDTH))
    for empty in list(panels):
        empty.set_visible(False)
    figure.supxlabel(f"rounds ({band})", fontsize=13)
    figure.supylabel(metric, fontsize=13)
    return figure


def _panel(panel: Axes, curve: Curve, others: list[Curve]) -> None:
    quiet_grid(panel)
    for other in others:
        panel.plot(other.rounds, other.mean, color=GREY, linewidth=1)
    panel.fill_between(curve.rounds, curve.low, curve.high, color=BLUE, alpha=0.25, linewidth=0)
    marker = "o" if len(curve.rounds) <= _SINGLE else None
    panel.plot(curve.rounds, curve.mean, color=BLUE, linewidth=2.4, marker=marker)
    panel.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    panel.yaxis.set_major_locator(MaxNLocator(nbins=4))
