"""Charts, computed by Vega itself."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import vl_convert

from fedbench_core.leaderboard.columns import metric
from fedbench_core.plots.style import look
from fedbench_core.report.tradeoff import tradeoff

ROWS = (("silent", 0, 0.3), ("cheap", 1, 0.5), ("dominated", 2, 0.4), ("costly", 3, 0.6), ("equal cost", 3, 0.5))


def items(node: Any, kind: str) -> Iterator[dict[str, Any]]:
    """The items of the marks of a kind in a scene graph."""
    if isinstance(node, dict):
        if node.get("marktype") == kind and node.get("role") == "mark":
            yield from node["items"]
        yield from (item for value in node.values() for item in items(value, kind))
    elif isinstance(node, list):
        yield from (item for value in node for item in items(value, kind))


@pytest.mark.parametrize(("score", "sign"), [("auc", 1), ("ece", -1)])
def test_front_has_the_entries_with_no_better_one_at_their_cost(score, sign) -> None:
    rows = [
        {
            "entry": name,
            "reference": False,
            "mb": cost,
            score: sign * value,
            f"{score}_low": None,
            f"{score}_high": None,
        }
        for name, cost, value in ROWS
    ]
    names = {name: number for number, (name, _, _) in enumerate(ROWS)}
    spec = tradeoff("c", rows, {"mb": "MB"}, [metric(score)], names).spec
    scene = vl_convert.vegalite_to_scenegraph(spec, vl_version="6.1")
    dots = {(round(dot["x"], 3), round(dot["y"], 3)) for dot in items(scene, "symbol")}
    front = [(round(point["x"], 3), round(point["y"], 3)) for point in items(scene, "line")]
    heights = sorted({y for _, y in dots}, reverse=sign > 0)
    assert len(dots) == 5
    assert [y for _, y in front] == [heights[0], heights[2], heights[3]]  # silent, cheap, costly


def test_legend_has_every_entry_and_is_no_higher_than_the_chart() -> None:
    names = {f"entry {number}": number for number in range(40)}
    rows = [
        {"entry": name, "reference": False, "mb": 1, "auc": 0.5, "auc_low": None, "auc_high": None} for name in names
    ]
    spec = tradeoff("c", rows, {"mb": "MB"}, [metric("auc")], names).spec
    svg = vl_convert.vegalite_to_svg(spec, vl_version="6.1")
    assert [name for name in names if f">{name}</text>" not in svg] == []
    plot, legend = spec["height"], vl_convert.vegalite_to_svg({**spec, "height": 10}, vl_version="6.1")
    assert float(re.search(r'height="(\d+)', legend)[1]) <= plot + 30  # axis and margins


def test_entry_has_the_color_that_it_has_in_pictures_whatever_its_rank() -> None:
    names = {"second in the suite": 1, "first in the suite": 0}
    rows = [
        {"entry": name, "reference": False, "mb": 1, "auc": 0.5, "auc_low": None, "auc_high": None} for name in names
    ]
    scale = tradeoff("c", rows, {"mb": "MB"}, [metric("auc")], names).spec["layer"][-1]["encoding"]["color"]["scale"]
    assert dict(zip(scale["domain"], scale["range"], strict=True)) == {
        name: look(number)["color"] for name, number in names.items()
    }
