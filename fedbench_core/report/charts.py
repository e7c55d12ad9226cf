"""Charts of a report but for the tradeoff: curves, strips of clients, and the bytes of a run."""

from collections.abc import Mapping, Sequence

from fedbench_core.leaderboard.columns import Column
from fedbench_core.plots.colors import BLUE
from fedbench_core.report.vega import INK, PALETTE, PICKED, Chart, Spec, base, dimmed, entry_color, height_for

_HARMED = "#D55E00"


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
            "params": [PICKED],
            "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
            "encoding": {
                **axes,
                "y": {**axes["y"], "field": "mean"},
                "shape": entry_color(names, shape=True)["shape"],
                "tooltip": tooltip,
            },
        },
    ]
    for layer in layers:
        layer["encoding"] |= {"color": entry_color(names)["color"], **dimmed(layer["mark"].get("opacity", 1))}
    text = f"{metric.heading} on validation images: {band}. Click on a name to see its entry alone."
    return Chart(
        name, text, {**base(params, height=height_for(300, names)), "data": {"values": list(means)}, "layer": layers}
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
            **dimmed(0.45, legend=False),
            "tooltip": [{"field": one} for one in ("entry", "client", "seed", "images")]
            + [{"field": "value", "format": ".3f"}],
        },
    }
    mean = {
        "mark": {"type": "point", "shape": "diamond", "filled": True, "size": 90, "opacity": 1, "color": INK},
        "encoding": {"x": {**x, "aggregate": "mean"}, "y": y},
    }
    zero = {"mark": {"type": "rule", "color": INK}, "encoding": {"x": {"datum": 0, "type": "quantitative"}}}
    layers = [*([zero] if signed else []), dots, mean]
    return Chart(name, text, {**base([], height=24 * len(names)), "data": {"values": list(rows)}, "layer": layers})


def run_curve(name: str, rows: Sequence[Spec]) -> Chart:
    """The scores of one run over rounds: rows with `round`, `metric` and `score`."""
    encoding = {
        "x": _rounds(rows),
        "y": {"field": "score", "type": "quantitative", "title": "score (validation)", "scale": {"zero": False}},
        "color": {"field": "metric", "type": "nominal", "title": None, "scale": {"range": PALETTE}},
        "tooltip": [{"field": "metric"}, {"field": "round"}, {"field": "score", "format": ".3f"}],
    }
    spec = {
        **base([], height=280),
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
        "color": {"field": "way", "type": "nominal", "title": None, "scale": {"range": PALETTE}},
        "tooltip": [{"field": "way"}, {"field": "round"}, {"field": "mb", "format": ".4~g"}],
    }
    spec = {**base([], height=220), "data": {"values": list(rows)}, "mark": "bar", "encoding": encoding}
    return Chart(name, "Measured bytes of the messages of each round.", spec)


def _rounds(rows: Sequence[Spec]) -> Spec:
    """The axis of rounds, with a tick at each round that has a point."""
    rounds = sorted({row["round"] for row in rows})
    axis = {"values": rounds, "labelOverlap": True}
    scale = {"domain": [rounds[0], rounds[-1]]}
    return {"field": "round", "type": "quantitative", "title": "rounds", "axis": axis, "scale": scale}
