"""Quality against bytes, and which entries no other beats in both."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from fedbench_core.plots.style import COLOURS, DARK, MARKERS, quiet_grid, wrapped

_LEGEND_WIDTH = 26
_APART = 0.02
"""Of the axis, between entries of as many bytes."""


@dataclass(frozen=True)
class Point:
    """An entry: bytes per client and round, and its mean score with a 95 % interval (None where there is none).

    reference: trained on what no federation has, so that it is drawn as a line to compare with.
    """

    name: str
    bytes: float
    score: float
    low: float | None
    high: float | None
    reference: bool = False


def pareto(points: Sequence[Point], *, more_is_better: bool = True) -> list[Point]:
    """The points that no other beats: none is at least as good for at most the bytes, and better in one of the two."""
    sign = 1 if more_is_better else -1
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (p.bytes, -sign * p.score)):
        equal = front and (point.bytes, point.score) == (front[-1].bytes, front[-1].score)
        if not front or equal or sign * point.score > sign * front[-1].score:
            front.append(point)
    return front


def draw_tradeoff(points: Sequence[Point], metric: str, *, more_is_better: bool = True) -> Figure:
    """Scores over bytes per client and round, on a log axis; what sends nothing stands in a strip of its own."""
    lines = sum(wrapped(point.name, _LEGEND_WIDTH).count("\n") + 1 for point in points)
    figure = Figure(figsize=(9, max(4.4, 0.27 * lines + 1.2)), layout="constrained")
    entries = [point for point in points if not point.reference]
    silent = [point for point in entries if not point.bytes]
    widths = [1.0] * bool(silent) + [4.0] * (len(silent) < len(entries) or not entries)
    strips = list(figure.subplots(1, len(widths), sharey=True, width_ratios=widths, squeeze=False).flat)
    places = _places(entries)
    handles = [_draw(strips, places, point, number) for number, point in enumerate(points)]
    if silent:
        _dress_silent(strips[0], len(silent))
    if len(silent) < len(entries):
        _dress_sending(strips[-1], apart=bool(silent))
        _staircase(strips, pareto(entries, more_is_better=more_is_better))
    strips[0].set_ylabel(metric)
    figure.legend(handles=handles, loc="outside right upper", frameon=False, handletextpad=0.6, handlelength=1.4)
    return figure


def _places(entries: Sequence[Point]) -> dict[str, float]:
    """Where each entry stands: side by side those that send nothing, and those that send as much, to see intervals."""
    sending = sorted((point for point in entries if point.bytes), key=lambda point: point.bytes)
    places = {point.name: float(at) for at, point in enumerate(p for p in entries if not p.bytes)}
    step = max(10.0, sending[-1].bytes / sending[0].bytes) ** _APART if sending else 1.0
    groups: list[list[Point]] = []
    for point in sending:
        if groups and point.bytes < step * groups[-1][0].bytes:
            groups[-1].append(point)
        else:
            groups.append([point])
    for group in groups:
        middle = (len(group) - 1) / 2
        places |= {point.name: point.bytes * step ** (at - middle) for at, point in enumerate(group)}
    return places


def _draw(strips: Sequence[Axes], places: Mapping[str, float], point: Point, number: int) -> Line2D:
    """Draw an entry, or the line of a reference; gives its sign for the legend."""
    color, label = COLOURS[number % len(COLOURS)], wrapped(point.name, _LEGEND_WIDTH)
    if point.reference:
        for strip in strips:
            strip.axhline(point.score, color=DARK, linewidth=1.6, linestyle=":", zorder=1)
        return Line2D([], [], color=DARK, linewidth=1.6, linestyle=":", label=label)
    style: dict[str, Any] = {
        "color": color,
        "marker": MARKERS[number % len(MARKERS)],
        "markersize": 9,
        "markeredgecolor": "white",
        "linestyle": "none",
    }
    ends = None if point.low is None or point.high is None else [[point.score - point.low], [point.high - point.score]]
    axes = strips[-1] if point.bytes else strips[0]
    axes.errorbar(places[point.name], point.score, ends, elinewidth=1.2, zorder=3, **style)
    return Line2D([], [], label=label, **style)


def _dress_silent(axes: Axes, count: int) -> None:
    quiet_grid(axes)
    axes.set_xlim(-0.7, count - 0.3)
    axes.set_xticks([])
    axes.set_xlabel("nothing\nsent")


def _dress_sending(axes: Axes, *, apart: bool) -> None:
    """A log axis that is never narrower than a factor of ten, so that it always has a number."""
    quiet_grid(axes)
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    middle, half = math.sqrt(low * high), max(math.sqrt(high / low) * 1.1, math.sqrt(10))
    axes.set_xlim(middle / half, middle * half)
    axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1.0, 3.0), numticks=7))
    axes.xaxis.set_major_formatter(EngFormatter(unit="B"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("sent and received, per client and round\n(log scale; dashed: the best mean for so many bytes)")
    if apart:
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)


def _staircase(strips: Sequence[Axes], front: Sequence[Point]) -> None:
    """The best score that so many bytes buy, from what nothing buys on."""
    sending = strips[-1]
    left, right = sending.get_xlim()
    steps = [(point.bytes or left, point.score) for point in front]
    style: dict[str, Any] = {"color": DARK, "linewidth": 1.2, "linestyle": "--", "zorder": 1}
    places, scores = zip(*steps, (right, steps[-1][1]), strict=True)
    sending.step(places, scores, where="post", **style)
    if not front[0].bytes:
        strips[0].axhline(front[0].score, **style)
