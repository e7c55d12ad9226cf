"""Score against bytes, with the Pareto front."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from fedbench_core.plots.colors import DARK
from fedbench_core.plots.style import look, quiet_grid, wrapped

_LEGEND_WIDTH = 26
_TITLE_WIDTH = 54
"""Up to the legend."""
_WIDE = 30.0
"""Half of the axis, as a factor, from which on only powers of ten are labeled."""
_OFFSET = 0.02
"""Distance of entries with equal bytes, as a fraction of the axis."""


@dataclass(frozen=True)
class Point:
    """An entry: its bytes per client and round, and its mean score with a 95 % interval (None without one).

    reference: not a federated method; drawn as a horizontal line.
    """

    name: str
    bytes: float
    score: float
    low: float | None
    high: float | None
    reference: bool = False


def pareto(points: Sequence[Point], *, more_is_better: bool = True) -> list[Point]:
    """The Pareto front: points for which no other is at least as good in score and bytes and better in one of them."""
    sign = 1 if more_is_better else -1
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (p.bytes, -sign * p.score)):
        equal = front and (point.bytes, point.score) == (front[-1].bytes, front[-1].score)
        if not front or equal or sign * point.score > sign * front[-1].score:
            front.append(point)
    return front


def draw_tradeoff(
    points: Sequence[Point],
    metric: str,
    *,
    more_is_better: bool = True,
    title: str = "",
    numbers: Mapping[str, int] = MappingProxyType({}),
) -> Figure:
    """Scores over bytes per client and round (log axis); entries that send nothing are in a panel of their own.

    numbers: by entry, which decide about color and marker; the position in `points` by default.
    """
    lines = sum(wrapped(point.name, _LEGEND_WIDTH).count("\n") + 1 for point in points)
    figure = Figure(figsize=(9, max(4.4, 0.27 * lines + 1.2)), layout="constrained")
    if title:
        figure.suptitle(wrapped(title, _TITLE_WIDTH), x=0.01, horizontalalignment="left")
    entries = [point for point in points if not point.reference]
    without_bytes = [point for point in entries if not point.bytes]
    widths = [1.0] * bool(without_bytes) + [4.0] * (len(without_bytes) < len(entries) or not entries)
    panels = list(figure.subplots(1, len(widths), sharey=True, width_ratios=widths, squeeze=False).flat)
    positions = _positions(entries)
    handles = [_draw(panels, positions, point, numbers.get(point.name, at)) for at, point in enumerate(points)]
    if without_bytes:
        _format_without_bytes(panels[0], len(without_bytes))
    if len(without_bytes) < len(entries):
        _format_with_bytes(panels[-1], has_left_panel=bool(without_bytes))
        _draw_front(panels, pareto(entries, more_is_better=more_is_better), positions)
    panels[0].set_ylabel(metric)
    figure.legend(handles=handles, loc="outside right upper", frameon=False, handletextpad=0.6, handlelength=1.4)
    return figure


def _positions(entries: Sequence[Point]) -> dict[str, float]:
    """Horizontal positions; entries with equal bytes are side by side, so that their intervals don't overlap."""
    sending = sorted((point for point in entries if point.bytes), key=lambda point: point.bytes)
    positions = {point.name: float(at) for at, point in enumerate(p for p in entries if not p.bytes)}
    step = max(10.0, sending[-1].bytes / sending[0].bytes) ** _OFFSET if sending else 1.0
    groups: list[list[Point]] = []
    for point in sending:
        if groups and point.bytes < step * groups[-1][0].bytes:
            groups[-1].append(point)
        else:
            groups.append([point])
    for group in groups:
        middle = (len(group) - 1) / 2
        positions |= {point.name: point.bytes * step ** (at - middle) for at, point in enumerate(group)}
    return positions


def _draw(panels: Sequence[Axes], positions: Mapping[str, float], point: Point, number: int) -> Line2D:
    """Draw an entry, or the line of a reference; gives its handle for the legend."""
    label = wrapped(point.name, _LEGEND_WIDTH)
    if point.reference:
        for panel in panels:
            panel.axhline(point.score, color=DARK, linewidth=1.6, linestyle=":", zorder=1)
        return Line2D([], [], color=DARK, linewidth=1.6, linestyle=":", label=label)
    style: dict[str, Any] = {
        **look(number),
        "markersize": 9,
        "markeredgecolor": "white",
        "linestyle": "none",
    }
    ends = None if point.low is None or point.high is None else [[point.score - point.low], [point.high - point.score]]
    axes = panels[-1] if point.bytes else panels[0]
    axes.errorbar(positions[point.name], point.score, ends, elinewidth=1.2, zorder=3, **style)
    return Line2D([], [], label=label, **style)


def _format_without_bytes(axes: Axes, count: int) -> None:
    quiet_grid(axes)
    axes.set_xlim(-0.7, count - 0.3)
    axes.set_xticks([])
    axes.set_xlabel("no\ncommunication")


def _format_with_bytes(axes: Axes, *, has_left_panel: bool) -> None:
    """A log axis that spans at least a factor of ten, so that it has a tick label."""
    quiet_grid(axes)
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    middle, half = math.sqrt(low * high), max(math.sqrt(high / low) * 1.1, math.sqrt(10))
    axes.set_xlim(middle / half, middle * half)
    subs = (1.0, 3.0) if half < _WIDE else (1.0,)
    axes.xaxis.set_major_locator(LogLocator(base=10, subs=subs, numticks=7))
    axes.xaxis.set_major_formatter(EngFormatter(unit="B"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("uploaded and downloaded per client and round\n(log scale; dashed: Pareto front of the means)")
    if has_left_panel:
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)


def _draw_front(panels: Sequence[Axes], front: Sequence[Point], at: Mapping[str, float]) -> None:
    """Draw the Pareto front as a step function through the markers of its points."""
    with_bytes = panels[-1]
    left, right = with_bytes.get_xlim()
    steps = [(at[point.name] if point.bytes else left, point.score) for point in front]
    style: dict[str, Any] = {"color": DARK, "linewidth": 1.2, "linestyle": "--", "zorder": 1}
    ends, scores = zip(*steps, (right, steps[-1][1]), strict=True)
    with_bytes.step(ends, scores, where="post", **style)
    if not front[0].bytes:
        panels[0].axhline(front[0].score, **style)
