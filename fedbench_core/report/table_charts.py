"""What the charts of a table show: scores and costs, learning curves, and the personalization of each client."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import astuple
from typing import Any

from fedbench_core.escapes import line
from fedbench_core.leaderboard.columns import COSTS, Column, personalization_by_client
from fedbench_core.leaderboard.curves import band_text, learning_curve
from fedbench_core.leaderboard.leaderboard import Leaderboard
from fedbench_core.leaderboard.misfits import Record
from fedbench_core.leaderboard.table import Row, Table
from fedbench_core.report import charts
from fedbench_core.report.tradeoff import tradeoff
from fedbench_core.report.vega import Chart
from fedbench_core.statistics.intervals import defined_mean

_MOST_DOTS = 6000
"""Strips of clients show fewer seeds if there were more dots."""


def table_charts(leaderboard: Leaderboard, table: Table, name: str) -> Iterator[Chart]:
    """The charts of a table; `name` starts the name of each."""
    numbers = {entry.name: number for number, entry in enumerate(leaderboard.suite.entries)}
    names = {line(row.entry): numbers[row.entry] for row in table.rows}
    quality = [column for column in table.quality if not column.name.startswith("selected")]
    rows = [_point(table, row, quality) for row in table.rows]
    yield tradeoff(f"{name}-cost", rows, _COSTS, quality, names)
    means, seeds = _curves(table)
    if len({row["round"] for row in means}) > 1:
        yield charts.curves(f"{name}-curves", means, seeds, table.ranked_by, band_text(table.runs), names)
    if strips := _strips(table, leaderboard.suite.baselines.steps):
        yield charts.clients(f"{name}-clients", *strips, names, signed=strips[1].startswith("gain"))


_COSTS = {
    "mb": "MB per client and round",
    "mb_up": "MB up per client and round",
    "mb_down": "MB down per client and round",
    "mb_peer": "MB between peers per client and round",
    "transfer": "seconds of transfer per client and run",
    "gflops": "GFLOPs of the federation",
    "seconds": "seconds per run, as measured",
}


def _point(table: Table, row: Row, quality: Sequence[Column]) -> dict[str, Any]:
    records = list(table.runs[row.entry].values())
    costs = {cost.name: _known(row.intervals[cost.name].mean) for cost in COSTS}
    sent = row.megabytes
    rounds = defined_mean([record["spec"]["rounds"] for record in records])[0]
    costs |= {"mb": sent, "transfer": sent * 8 * rounds}
    ends = {
        f"{column.name}{end}": _known(getattr(row.intervals[column.name], part))
        for column in quality
        for end, part in (("", "mean"), ("_low", "low"), ("_high", "high"))
    }
    return {"entry": line(row.entry), "reference": row.entry in table.references, **costs, **ends}


def _curves(table: Table) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The points of the learning curves: means over seeds, and each seed."""
    metric, means, seeds = table.ranked_by.name, [], []
    for entry, own in table.runs.items():
        curve = learning_curve(own, metric)
        for round_, *ends in zip(*map(list, astuple(curve)), strict=True) if curve is not None else ():
            values = dict(zip(("mean", "low", "high"), map(_known, ends), strict=True))
            means.append({"entry": line(entry), "round": int(round_), **values})
        for seed, record in own.items():
            for point in record["curve"]:
                if point["split"] == "val" and point.get(metric) is not None:
                    score = round(point[metric], 4)
                    seeds.append({"entry": line(entry), "seed": seed, "round": point["round"] + 1, "score": score})
    return means, seeds


def _strips(table: Table, alone: str | None) -> tuple[list[dict[str, Any]], str, str] | None:
    """The personalization of each client, minus that of local training with the same seed if a suite names it."""
    baseline = table.runs.get(alone or "", {})
    clients = first_run(table, table.rows[0])["population"]["clients"]
    seeds = sorted({seed for own in table.runs.values() for seed in own})
    kept = seeds[: max(1, _MOST_DOTS // max(1, clients * len(table.rows)))]
    rows = []
    for entry, own in table.runs.items():
        for seed in [seed for seed in kept if seed in own and (not baseline or seed in baseline)]:
            base = personalization_by_client(baseline.get(seed)) if baseline else [0.0] * clients
            images = own[seed]["population"]["images"]["train"]
            for client, (score, other) in enumerate(zip(personalization_by_client(own[seed]), base, strict=False)):
                if score is not None and other is not None:
                    value = round(score - other, 4)
                    rows.append(
                        {"entry": line(entry), "client": client, "seed": seed, "value": value, "images": images[client]}
                    )
    if not rows:
        return None
    fewer = "" if len(kept) == len(seeds) else f" The first {len(kept)} of {len(seeds)} seeds are shown."
    if not baseline:
        return rows, "personalization", f"A line per client and seed; diamonds are means.{fewer}"
    text = (
        "A line per client and seed: its personalization minus that of local training with equal steps and seed. "
        f"Left of zero (red): the client is hurt. Diamonds are means.{fewer}"
    )
    return rows, "gain of a client over local training", text


def first_run(table: Table, row: Row) -> Record:
    """The run of an entry with the lowest seed."""
    own = table.runs[row.entry]
    return own[min(own)]


def _known(value: float) -> float | None:
    """Six digits are more than a chart shows, and keep the file small."""
    return None if math.isnan(value) else float(f"{value:.6g}")
