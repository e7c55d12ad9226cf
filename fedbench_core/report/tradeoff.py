"""Score against cost: the axes are chosen in the browser."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fedbench_core.leaderboard.columns import Column
from fedbench_core.report.vega import INK, PICKED, Chart, Spec, base, dimmed, entry_color, height_for

_REFERENCE: list[Spec] = [
    {
        "transform": [{"filter": "datum.reference"}],
        "mark": {"type": "rule", "strokeDash": [2, 3], "color": INK},
        "encoding": {"x": None, "y": {"field": "y"}},
    },
    {
        "transform": [{"filter": "datum.reference"}],
        "mark": {"type": "text", "align": "left", "baseline": "bottom", "x": 4, "dy": -3, "color": INK},
        "encoding": {"x": None, "text": {"field": "entry"}},
    },
]
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
_TEXT = (
    "Means with 95 % intervals. The dashed line is the Pareto front of the means: the best score for a cost. "
    "Dotted: centralized training. Choose the axes below the chart; click on a name to see its entry alone."
)
_TITLE: Spec = {"text": {"expr": "titles[score] + ' against ' + titles[cost]"}}
# Entries of the same cost are drawn side by side: `slot` counts from the middle.
_POINTS: list[Spec] = [
    {"calculate": "datum[cost] / (cost == 'transfer' ? bandwidth : 1)", "as": "x"},
    {"calculate": f"max(datum.x, {_FLOOR})", "as": "place"},
    *({"calculate": f"datum[score + '{end}']", "as": end[1:] or "y"} for end in ("", "_low", "_high")),
    {"filter": "isValid(datum.y) && isValid(datum.x)"},
    {"window": [{"op": "row_number", "as": "row"}], "groupby": ["place", "reference"]},
    {"joinaggregate": [{"op": "count", "as": "rows"}], "groupby": ["place", "reference"]},
    {"calculate": "datum.row - (datum.rows + 1) / 2", "as": "slot"},
]
_SLOT: Spec = {"xOffset": {"expr": "datum.slot * 11"}}
_AXES: Spec = {
    "x": {
        "field": "place",
        "type": "quantitative",
        "scale": {"type": "log", "nice": False, "padding": 40},
        "axis": {"labelExpr": _AXIS_LABEL, "labelOverlap": True, "title": None},
    },
    "y": {"field": "y", "type": "quantitative", "scale": {"zero": False}, "axis": {"title": None}},
}
_STEPS: Spec = {
    "transform": _FRONT,
    "mark": {
        "type": "line",
        "interpolate": "step-after",
        "strokeDash": [5, 4],
        "color": INK,
        "strokeWidth": 1.2,
        "opacity": 0.8,
    },
}


def tradeoff(
    name: str, rows: Sequence[Spec], costs: Mapping[str, str], scores: Sequence[Column], names: Mapping[str, int]
) -> Chart:
    """Score against cost: the axes are chosen in the browser.

    rows: a row per entry with `entry`, `reference` (drawn as a line), its costs by name, and `NAME`, `NAME_low` and
    `NAME_high` of each score. costs: their titles by name, the first is shown first. names: the number of each entry in
    its suite, in the order of the legend.
    """
    layers = [
        _STEPS,
        *(_REFERENCE if any(row["reference"] for row in rows) else []),
        *([_bars(names)] if any(row[f"{scores[0].name}_low"] is not None for row in rows) else []),
        _dots(names),
    ]
    spec = {
        **base(_parameters(rows, costs, scores), height=height_for(340, names)),
        "title": _TITLE,
        "data": {"values": list(rows)},
        "transform": _POINTS,
        "encoding": _AXES,
        "layer": layers,
    }
    return Chart(name, _TEXT, spec)


def _parameters(rows: Sequence[Spec], costs: Mapping[str, str], scores: Sequence[Column]) -> list[Spec]:
    """What is chosen below the chart, and what its expressions look up."""
    titles = {**costs, **{score.name: score.arrowed for score in scores}}
    return [
        _choice("cost", "cost", list(costs), titles),
        _choice("score", "score", [score.name for score in scores], titles),
        _choice("bandwidth", "Mbit/s", [10, 0.1, 1, 100, 1000], {}),
        {"name": "titles", "value": titles},
        {"name": "signs", "value": {score.name: 1 if score.more_is_better else -1 for score in scores}},
        {"name": "floors", "value": {cost: _floor([row[cost] for row in rows]) for cost in costs}},
    ]


def _bars(names: Mapping[str, int]) -> Spec:
    """The intervals of entries."""
    return {
        "transform": [{"filter": "!datum.reference && isValid(datum.low)"}],
        "mark": {"type": "rule", "strokeWidth": 1.5, **_SLOT},
        "encoding": {"y": {"field": "low"}, "y2": {"field": "high"}, **entry_color(names), **dimmed()},
    }


def _dots(names: Mapping[str, int]) -> Spec:
    """The means of entries."""
    tooltip = [
        {"field": "entry"},
        {"field": "x", "title": "cost", "format": ".4~g"},
        *({"field": end, "format": ".3f"} for end in ("y", "low", "high")),
    ]
    return {
        "params": [PICKED],
        "transform": [{"filter": "!datum.reference"}],
        "mark": {"type": "point", "filled": True, "size": 110, "opacity": 1, **_SLOT},
        "encoding": {**entry_color(names, shape=True), **dimmed(), "tooltip": tooltip},
    }


def _choice(name: str, label: str, options: Sequence[Any], titles: Mapping[str, str]) -> Spec:
    labels = [titles.get(option, str(option)) for option in options]
    return {
        "name": name,
        "value": options[0],
        "bind": {"input": "select", "options": list(options), "labels": labels, "name": f"{label} "},
    }


def _floor(costs: Sequence[float | None]) -> float:
    """Where zeros are drawn on a log axis: a power of ten below all other values; the smallest value without zeros."""
    positive = [cost for cost in costs if cost]
    if not positive:
        return 1.0
    return float(10.0 ** math.floor(math.log10(min(positive) / 2))) if 0 in costs else 0.0
