"""Charts as Vega-Lite specifications, which are drawn twice: as SVG in the file, and by Vega in a browser.

Colors that must be readable on light and dark pages are `currentColor`, the color of the text around the chart.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedbench_core.leaderboard.columns import Column
from fedbench_core.plots.colors import BLUE, COLORS

Spec = dict[str, Any]
_INK, _HARMED = "currentColor", "#D55E00"
_PALETTE = [color if color != "#000000" else _INK for color in COLORS]
_SHAPES = ["circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "triangle-right", "triangle-left"]
_DIMMED = 0.12
_LEGEND_LINE = 16  # pixels
_WIDTH = 620
"""Pixels; in a browser, charts are as wide as the page."""
_CONFIG: Spec = {
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        **{f"{part}Color": _INK for part in ("label", "title", "tick", "domain", "grid")},
        "gridOpacity": 0.15,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
    },
    "legend": {"labelColor": _INK, "titleColor": _INK, "labelFontSize": 12, "symbolSize": 90, "labelLimit": 240},
    "title": {"color": _INK, "subtitleColor": _INK, "anchor": "start", "fontSize": 13, "fontWeight": "normal"},
}


@dataclass(frozen=True)
class Chart:
    """A chart: its name in the page, what it shows in a sentence, and its Vega-Lite specification."""

    name: str
    text: str
    spec: Spec


def tradeoff(
    name: str, rows: Sequence[Spec], costs: Mapping[str, str], scores: Sequence[Column], names: Mapping[str, int]
) -> Chart:
    """Score against cost: the axes are chosen in the browser.

    rows: a row per entry with `entry`, `reference` (drawn as a line), its costs by name, and `NAME`, `NAME_low` and
    `NAME_high` of each score. costs: their titles by name, the first is shown first. names: the number of each entry in
    its suite, in the order of the legend.
    """
    titles = {**costs, **{score.name: score.arrowed for score in scores}}
    params = [
        _choice("cost", "cost", list(costs), titles),
        _choice("score", "score", [score.name for score in scores], titles),
        _choice("bandwidth", "Mbit/s", [10, 0.1, 1, 100, 1000], {}),
        {"name": "titles", "value": titles},
        {"name": "signs", "value": {score.name: 1 if score.more_is_better else -1 for score in scores}},
        {"name": "floors", "value": {cost: _floor([row[cost] for row in rows]) for cost in costs}},
    ]
    dot = {"type": "point", "filled": True, "size": 110, "opacity": 1, "xOffset": {"expr": "datum.slot * 11"}}
    tooltip = [
        {"field": "entry"},
        {"field": "x", "title": "cost", "format": ".4~g"},
        *({"field": end, "format": ".3f"} for end in ("y", "low", "high")),
    ]
    bars = {
        "transform": [{"filter": "!datum.reference && isValid(datum.low)"}],
        "mark": {"type": "rule", "strokeWidth": 1.5, "xOffset": dot["xOffset"]},
        "encoding": {"y": {"field": "low"}, "y2": {"field": "high"}, **_entry_color(names), **_dimmed()},
    }
    dots = {
        "params": [_PICKED],
        "transform": [{"filter": "!datum.reference"}],
        "mark": dot,
        "encoding": {**_entry_color(names, shape=True), **_dimmed(), "tooltip": tooltip},
    }
    spec = {
        **_base(params, height=_height(340, names)),
        "title": {"text": {"expr": "titles[score] + ' against ' + titles[cost]"}},
        "data": {"values": list(rows)},
        "transform": [
            {"calculate": "datum[cost] / (cost == 'transfer' ? bandwidth : 1)", "as": "x"},
            {"calculate": f"max(datum.x, {_FLOOR})", "as": "place"},
            *({"calculate": f"datum[score + '{end}']", "as": end[1:] or "y"} for end in ("", "_low", "_high")),
            {"filter": "isValid(datum.y) && isValid(datum.x)"},
            {"window": [{"op": "row_number", "as": "row"}], "groupby": ["place", "reference"]},
            {"joinaggregate": [{"op": "count", "as": "rows"}], "groupby": ["place", "reference"]},
            {"calculate": "datum.row - (datum.rows + 1) / 2", "as": "slot"},
        ],
        "encoding": {
            "x": {
                "field": "place",
                "type": "quantitative",
                "scale": {"type": "log", "nice": False, "padding": 40},
                "axis": {"labelExpr": _AXIS_LABEL, "labelOverlap": True, "title": None},
            },
            "y": {"field": "y", "type": "quantitative", "scale": {"zero": False}, "axis": {"title": None}},
        },
        "layer": [
            {"transform": _FRONT, "mark": {"type": "line", "interpolate": "step-after", "strokeDash": [5, 4], **_LINE}},
            *(_REFERENCE if any(row["reference"] for row in rows) else []),
            *([bars] if any(row[f"{scores[0].name}_low"] is not None for row in rows) else []),
            dots,
        ],
    }
    text = (
        "Means with 95 % intervals. The dashed line is the Pareto front of the means: the best score for a cost. "
        "Dotted: centralized training. Choose the axes below the chart; click on a name to see its entry alone."
    )
    return Chart(name, text, spec)


def curves(
    name: str, means: Sequence[Spec], seeds: Sequence[Spec], metric: Column, band: str, names: Mapping[str, int]
) -> Chart:
    """Learning curves on validation images: rows with `entry`, `round`, `mean`, `low`, `high`; and `seed`, `score`."""
    scores = [row[end] for row in means for end in ("low", "mean", "high")] + [row["score"] for row in seeds]
    range_ = [ends(score for score in scores if score is not None) for ends in (min, max)]
    y: Spec = {"type": "quantitative", "title": f"{metric.heading} (validation)"}
    axes: Spec = {"x": _rounds(means), "y": {**y, "scale": {"domain": range_}}}
    tooltip = [{"field": "entry"}, {"field": "round"}, {"field": "mean", "format": ".3f"}]
    params = [{"name": "seeds", "value": False, "bind": {"input": "checkbox", "name": "every seed "}}]
    layers: list[Spec] = [
        {
            "data": {"values": list(seeds)},
            "transform": [{"filter": "seeds"}],
            "mark": {"type": "line", "strokeWidth": 0.8, "opacity": 0.5},
            "encoding": {**axes, "y": {**axes["y"], "field": "score"}, "detail": {"field": "seed"}},
        },
        {
            "mark": {"type": "area", "opacity": 0.1},
            "encoding": {**axes, "y": {**axes["y"], "field": "low"}, "y2": {"field": "high"}},
        },
        {"mark": {"type": "line", "strokeWidth": 2}, "encoding": {**axes, "y": {**axes["y"], "field": "mean"}}},
        {
            "params": [_PICKED],
            "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
            "encoding": {
                **axes,
                "y": {**axes["y"], "field": "mean"},
                "shape": _entry_color(names, shape=True)["shape"],
                "tooltip": tooltip,
            },
        },
    ]
    for layer in layers:
        layer["encoding"] |= {"color": _entry_color(names)["color"], **_dimmed(layer["mark"].get("opacity", 1))}
    text = f"{metric.heading} on validation images: {band}. Click on a name to see its entry alone."
    return Chart(
        name, text, {**_base(params, height=_height(300, names)), "data": {"values": list(means)}, "layer": layers}
    )


def clients(name: str, rows: Sequence[Spec], title: str, text: str, names: Mapping[str, int], *, signed: bool) -> Chart:
    """A strip per entry with a dot per client and seed: rows with `entry`, `client`, `seed`, `value` and `images`."""
    y = {"field": "entry", "type": "nominal", "sort": list(names), "title": None, "axis": {"labelLimit": 260}}
    x = {"field": "value", "type": "quantitative", "title": title, "scale": {"zero": signed}}
    color = {"condition": {"test": "datum.value < 0", "value": _HARMED}, "value": BLUE} if signed else {"value": BLUE}
    dots = {
        "mark": {"type": "tick", "thickness": 2, "height": 13, "aria": False},
        "encoding": {
            "x": x,
            "y": y,
            "color": color,
            **_dimmed(0.45, legend=False),
            "tooltip": [{"field": one} for one in ("entry", "client", "seed", "images")]
            + [{"field": "value", "format": ".3f"}],
        },
    }
    mean = {
        "mark": {"type": "point", "shape": "diamond", "filled": True, "size": 90, "opacity": 1, "color": _INK},
        "encoding": {"x": {**x, "aggregate": "mean"}, "y": y},
    }
    zero = {"mark": {"type": "rule", "color": _INK}, "encoding": {"x": {"datum": 0, "type": "quantitative"}}}
    layers = [*([zero] if signed else []), dots, mean]
    return Chart(name, text, {**_base([], height=24 * len(names)), "data": {"values": list(rows)}, "layer": layers})


def run_curve(name: str, rows: Sequence[Spec]) -> Chart:
    """The scores of one run over rounds: rows with `round`, `metric` and `score`."""
    encoding = {
        "x": _rounds(rows),
        "y": {"field": "score", "type": "quantitative", "title": "score (validation)", "scale": {"zero": False}},
        "color": {"field": "metric", "type": "nominal", "title": None, "scale": {"range": _PALETTE}},
        "tooltip": [{"field": "metric"}, {"field": "round"}, {"field": "score", "format": ".3f"}],
    }
    spec = {
        **_base([], height=280),
        "data": {"values": list(rows)},
        "mark": {"type": "line", "point": {"filled": True, "size": 40}},
        "encoding": encoding,
    }
    return Chart(name, "Scores on validation images after each round that was evaluated.", spec)


def bytes_by_round(name: str, rows: Sequence[Spec]) -> Chart:
    """Megabytes by round: rows with `round`, `way` and `mb`."""
    encoding = {
        "x": {"field": "round", "type": "ordinal", "title": "rounds", "axis": {"labelAngle": 0, "labelOverlap": True}},
        "y": {"field": "mb", "type": "quantitative", "title": "MB of all clients"},
        "color": {"field": "way", "type": "nominal", "title": None, "scale": {"range": _PALETTE}},
        "tooltip": [{"field": "way"}, {"field": "round"}, {"field": "mb", "format": ".4~g"}],
    }
    spec = {**_base([], height=220), "data": {"values": list(rows)}, "mark": "bar", "encoding": encoding}
    return Chart(name, "Measured bytes of the messages of each round.", spec)


_REFERENCE: list[Spec] = [
    {
        "transform": [{"filter": "datum.reference"}],
        "mark": {"type": "rule", "strokeDash": [2, 3], "color": _INK},
        "encoding": {"x": None, "y": {"field": "y"}},
    },
    {
        "transform": [{"filter": "datum.reference"}],
        "mark": {"type": "text", "align": "left", "baseline": "bottom", "x": 4, "dy": -3, "color": _INK},
        "encoding": {"x": None, "text": {"field": "entry"}},
    },
]
_LINE: Spec = {"color": _INK, "strokeWidth": 1.2, "opacity": 0.8}
_PICKED: Spec = {"name": "picked", "select": {"type": "point", "fields": ["entry"]}, "bind": "legend"}
_HOVERED: Spec = {"name": "hovered", "value": ""}
_FLOOR = "(floors[cost] / (cost == 'transfer' ? bandwidth : 1))"
_AXIS_LABEL = (
    f"datum.value > 2.01 * {_FLOOR} ? format(datum.value, '~g') : abs(datum.value / {_FLOOR} - 1) < 0.01 ? '0' : ''"
)
# An entry is on the front if no entry that costs as much or less has a better score.
_FRONT: list[Spec] = [
    {"filter": "!datum.reference"},
    {"calculate": "datum.y * signs[score]", "as": "gain"},
    {"joinaggregate": [{"op": "max", "field": "gain", "as": "best_here"}], "groupby": ["place"]},
    {"filter": "datum.gain == datum.best_here"},
    {
        "window": [{"op": "max", "field": "gain", "as": "best"}],
        "sort": [{"field": "place"}],
        "frame": [None, 0],
        "ignorePeers": False,
    },
    {"filter": "datum.gain >= datum.best"},
]


def _base(params: Sequence[Spec], height: int) -> Spec:
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "config": _CONFIG,
        "width": _WIDTH,
        "height": height,
        "params": [_HOVERED, *params],
    }


def _height(least: int, names: Mapping[str, int]) -> int:
    """Pixels for a chart whose legend has a line for each name."""
    return max(least, _LEGEND_LINE * len(names))


def _rounds(rows: Sequence[Spec]) -> Spec:
    """The axis of rounds, with a tick at each round that has a point."""
    rounds = sorted({row["round"] for row in rows})
    axis = {"values": rounds, "labelOverlap": True}
    scale = {"domain": [rounds[0], rounds[-1]]}
    return {"field": "round", "type": "quantitative", "title": "rounds", "axis": axis, "scale": scale}


def _choice(name: str, label: str, options: Sequence[Any], titles: Mapping[str, str]) -> Spec:
    labels = [titles.get(option, str(option)) for option in options]
    return {
        "name": name,
        "value": options[0],
        "bind": {"input": "select", "options": list(options), "labels": labels, "name": f"{label} "},
    }


def _entry_color(names: Mapping[str, int], *, shape: bool = False) -> Spec:
    """Colors and shapes by the number of an entry in its suite; 7 colors and 8 shapes give 56 different marks."""
    color = {"domain": list(names), "range": [_PALETTE[number % len(_PALETTE)] for number in names.values()]}
    shapes = {"domain": list(names), "range": [_SHAPES[number % len(_SHAPES)] for number in names.values()]}
    field: Spec = {"field": "entry", "type": "nominal", "title": None, "legend": {"columns": 1, "symbolLimit": 0}}
    return {"color": {**field, "scale": color}, **({"shape": {**field, "scale": shapes}} if shape else {})}


def _dimmed(opacity: float = 1, *, legend: bool = True) -> Spec:
    """Entries other than the one that is pointed at in the table, or picked in the legend, are pale."""
    test: list[Any] = [{"param": "picked"}] if legend else []
    hovered = "hovered == '' || datum.entry == hovered"
    return {"opacity": {"condition": {"test": {"and": [*test, hovered]}, "value": opacity}, "value": _DIMMED * opacity}}


def _floor(costs: Sequence[float | None]) -> float:
    """Where zeros are drawn on a log axis: a power of ten below all other values; the smallest value without zeros."""
    positive = [cost for cost in costs if cost]
    if not positive:
        return 1.0
    return float(10.0 ** math.floor(math.log10(min(positive) / 2))) if 0 in costs else 0.0
