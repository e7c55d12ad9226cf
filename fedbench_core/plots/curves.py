"""Learning curves over rounds: all in one panel, and a panel for each entry."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from fedbench_core.plots.colors import GRAY
from fedbench_core.plots.curve import Curve
from fedbench_core.plots.style import TITLE_WIDTH, look, quiet_grid, wrapped

_TITLE_WIDTH = 24
_LEGEND_WIDTH = 26
_MARKED_UP_TO = 12
"""Longer curves have no markers in their panels, and few in the panel of all."""
_PANEL_HEIGHT = 2.5  # inches
_OVERLAY_HEIGHT = 3.6

Curves = Mapping[str, Curve]


def draw_curves(
    curves: Curves, metric: str, band: str, title: str = "", numbers: Mapping[str, int] = MappingProxyType({})
) -> Figure:
    """All curves with their names in one panel, and below a panel for each entry with its band.

    metric: label of the vertical axis; band: explanation of the bands; numbers: by entry, which decide about color and
    marker, the position in `curves` by default. A single entry has one panel.
    """
    styles = {name: look(numbers.get(name, at)) for at, name in enumerate(curves)}
    columns = max(1, min(len(curves), 3))
    rows = max(1, math.ceil(len(curves) / columns))
    lines = max((wrapped(name, _TITLE_WIDTH).count("\n") for name in curves), default=0)
    overlay = max(_OVERLAY_HEIGHT, 0.3 * len(curves) + 0.6) if len(curves) > 1 else 0.0
    grid = rows * (_PANEL_HEIGHT + 0.22 * lines) + 0.8
    figure = Figure(figsize=(9 if columns > 1 else 5.5, overlay + grid), layout="constrained")
    if title:
        figure.suptitle(wrapped(title, TITLE_WIDTH if columns > 1 else TITLE_WIDTH // 2))
    parts = figure.subfigures(1 + bool(overlay), 1, squeeze=False, height_ratios=[overlay, grid] if overlay else [grid])
    if overlay:
        _draw_overlay(parts[0, 0], curves, styles, metric)
    _draw_grid(parts[-1, 0], curves, styles, (rows, columns))
    parts[-1, 0].supxlabel(f"rounds ({band})", fontsize=13)
    parts[-1, 0].supylabel(metric, fontsize=13)
    return figure


def _draw_overlay(part: SubFigure, curves: Curves, styles: Mapping[str, dict[str, Any]], metric: str) -> None:
    axes = part.subplots()
    _format(axes)
    for name, curve in curves.items():
        every = max(1, len(curve.rounds) // _MARKED_UP_TO)
        label = wrapped(name, _LEGEND_WIDTH)
        axes.plot(curve.rounds, curve.mean, linewidth=1.8, markersize=5, markevery=every, label=label, **styles[name])
    axes.set_xlabel("rounds")
    axes.set_ylabel(metric)
    part.legend(loc="outside right upper", frameon=False)


def _draw_grid(part: SubFigure, curves: Curves, styles: Mapping[str, dict[str, Any]], shape: tuple[int, int]) -> None:
    panels = part.subplots(*shape, sharex=True, sharey=True, squeeze=False).flat
    for (name, curve), panel in zip(curves.items(), panels, strict=False):
        _panel(panel, curve, styles[name], [other for key, other in curves.items() if key != name])
        panel.set_title(wrapped(name, _TITLE_WIDTH))
    for empty in list(panels):
        empty.set_visible(False)


def _panel(panel: Axes, curve: Curve, style: Mapping[str, Any], others: list[Curve]) -> None:
    _format(panel)
    for other in others:
        panel.plot(other.rounds, other.mean, color=GRAY, linewidth=1)
    panel.fill_between(curve.rounds, curve.low, curve.high, color=style["color"], alpha=0.25, linewidth=0)
    marker = style["marker"] if len(curve.rounds) <= _MARKED_UP_TO else None
    panel.plot(curve.rounds, curve.mean, color=style["color"], linewidth=2.4, marker=marker)


def _format(axes: Axes) -> None:
    quiet_grid(axes)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
