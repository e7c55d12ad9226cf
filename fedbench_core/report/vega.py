"""What all charts share: Vega-Lite specifications, which are drawn twice, as SVG in the file and by Vega in a browser.

Colors that must be readable on light and dark pages are `currentColor`, the color of the text around the chart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedbench_core.plots.colors import COLORS

Spec = dict[str, Any]
INK = "currentColor"
PALETTE = [color if color != "#000000" else INK for color in COLORS]
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
        **{f"{part}Color": INK for part in ("label", "title", "tick", "domain", "grid")},
        "gridOpacity": 0.15,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
    },
    "legend": {"labelColor": INK, "titleColor": INK, "labelFontSize": 12, "symbolSize": 90, "labelLimit": 240},
    "title": {"color": INK, "subtitleColor": INK, "anchor": "start", "fontSize": 13, "fontWeight": "normal"},
}
PICKED: Spec = {"name": "picked", "select": {"type": "point", "fields": ["entry"]}, "bind": "legend"}
_HOVERED: Spec = {"name": "hovered", "value": ""}


@dataclass(frozen=True)
class Chart:
    """A chart: its name in the page, what it shows in a sentence, and its Vega-Lite specification."""

    name: str
    text: str
    spec: Spec


def base(params: Sequence[Spec], height: int) -> Spec:
    """What every chart begins with."""
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "config": _CONFIG,
        "width": _WIDTH,
        "height": height,
        "params": [_HOVERED, *params],
    }


def height_for(least: int, names: Mapping[str, int]) -> int:
    """Pixels for a chart whose legend has a line for each name."""
    return max(least, _LEGEND_LINE * len(names))


def entry_color(names: Mapping[str, int], *, shape: bool = False) -> Spec:
    """Colors and shapes by the number of an entry in its suite; 7 colors and 8 shapes give 56 different marks."""
    color = {"domain": list(names), "range": [PALETTE[number % len(PALETTE)] for number in names.values()]}
    shapes = {"domain": list(names), "range": [_SHAPES[number % len(_SHAPES)] for number in names.values()]}
    field: Spec = {"field": "entry", "type": "nominal", "title": None, "legend": {"columns": 1, "symbolLimit": 0}}
    return {"color": {**field, "scale": color}, **({"shape": {**field, "scale": shapes}} if shape else {})}


def dimmed(opacity: float = 1, *, legend: bool = True) -> Spec:
    """Entries other than the one that is pointed at in the table, or picked in the legend, are pale."""
    test: list[Any] = [{"param": "picked"}] if legend else []
    hovered = "hovered == '' || datum.entry == hovered"
    return {"opacity": {"condition": {"test": {"and": [*test, hovered]}, "value": opacity}, "value": _DIMMED * opacity}}
