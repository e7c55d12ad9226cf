"""Learning curves over rounds, a panel for each entry."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fedbench_core.plots.style import BLUE, GRAY, quiet_grid, wrapped

_TITLE_WIDTH = 24
_MARKED_UP_TO = 12
"""Longer curves have no markers."""
_PANEL_HEIGHT = 2.5  # inches


@dataclass(frozen=True)
class Curve:
    """Validation scores of an entry: `mean`, `low` and `high` (n,) over seeds after `rounds` (n,)."""

    rounds: npt.NDArray[np.int64]
    mean: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]


def draw_curves(curves: Mapping[str, Curve], metric: str, band: str) -> Figure:
    """A panel for each entry: its curve and band in front of the others in gray.

    metric: label of the vertical axis; band: explanation of the bands.
    """
    columns = max(1, min(len(curves), 3))
    rows = max(1, math.ceil(len(curves) / columns))
    lines = max((wrapped(name, _TITLE_WIDTH).count("\n") for name in curves), default=0)
    figure = Figure(
        figsize=(9 if columns > 1 else 5.5, rows * (_PANEL_HEIGHT + 0.22 * lines) + 0.8), layout="constrained"
    )
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
        panel.plot(other.rounds, other.mean, color=GRAY, linewidth=1)
    panel.fill_between(curve.rounds, curve.low, curve.high, color=BLUE, alpha=0.25, linewidth=0)
    marker = "o" if len(curve.rounds) <= _MARKED_UP_TO else None
    panel.plot(curve.rounds, curve.mean, color=BLUE, linewidth=2.4, marker=marker)
    panel.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    panel.yaxis.set_major_locator(MaxNLocator(nbins=4))
