"""The pictures of a leaderboard: the numbers that each shows, its file's name, and how it is drawn."""

import hashlib
import math
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from fedbench_core.leaderboard.budget import bytes_per_turn
from fedbench_core.leaderboard.cases import Record, Runs, each
from fedbench_core.leaderboard.columns import Column
from fedbench_core.leaderboard.leaderboard import Leaderboard
from fedbench_core.leaderboard.table import Table
from fedbench_core.plots.bubbles import draw_bubbles
from fedbench_core.plots.curves import Curve, draw_curves
from fedbench_core.plots.ranks import draw_ranks
from fedbench_core.plots.tradeoff import Point, draw_tradeoff
from fedbench_core.statistics.datasets import nemenyi
from fedbench_core.statistics.intervals import Interval, defined_mean, mean_interval

FOLDER = "pictures"


@dataclass(frozen=True)
class Picture:
    """A picture: its file's name without an ending, words for who can't see it, the numbers it shows, its drawing."""

    name: str
    words: str
    numbers: Any
    draw: Callable[[], Figure]

    @property
    def told(self) -> str:
        """A digest of the numbers: a file that holds it shows them, whatever version of the library drew it."""
        return hashlib.sha256(repr((self.words, self.numbers)).encode()).hexdigest()

    @property
    def link(self) -> tuple[str, str]:
        """The words, and the path from the page."""
        return self.words, f"{FOLDER}/{self.name}.svg"


def of_leaderboard(leaderboard: Leaderboard) -> tuple[list[list[Picture]], list[Picture]]:
    """The pictures of each table, and those over datasets."""
    return [of_table(leaderboard.suite.name, table) for table in leaderboard.tables], over_datasets(leaderboard)


def of_table(suite: str, table: Table) -> list[Picture]:
    """Quality against bytes; learning curves, where validation was watched; who holds which images."""
    if not table.rows:
        return []
    found = [tradeoff(table), curves(table.runs, table.ranked_by), bubbles(table.case, each(table.runs)[0])]
    stem = "-".join(map(_slug, (suite, table.case.dataset, table.case.partition, table.case.backbones)))
    return [
        replace(picture, name=f"{stem}-{picture.name}", words=f"{picture.words}: {table.case}")
        for picture in found
        if picture is not None
    ]


def over_datasets(leaderboard: Leaderboard) -> list[Picture]:
    """The critical-difference diagram, where it may be drawn."""
    across = leaderboard.across
    if across is None or across.critical_difference is None or not across.claim:
        return []
    ranks, placed, reach = across.ranks, across.placed, across.critical_difference
    words = "Critical-difference diagram: mean ranks over datasets"
    name = f"{_slug(leaderboard.suite.name)}-ranks"
    return [Picture(name, words, (ranks, reach), lambda: draw_ranks(ranks, nemenyi(placed), reach))]


def tradeoff(table: Table) -> Picture:
    """Each entry's ranked score against its bytes per client and round."""
    points = [
        _point(row.entry, table.runs[row.entry], value)
        for row in table.rows
        if not math.isnan((value := row.values[table.ranked_by.name]).mean)
    ]
    column = table.ranked_by
    draw = partial(draw_tradeoff, points, column.heading, more_is_better=column.more_is_better)
    return Picture("bytes", f"Quality ({column.heading}) against bytes", points, draw)


def _point(name: str, own: Mapping[int, Record], score: Interval) -> Point:
    """Images of all clients in one place are no federation's: such a row is a line to compare with."""
    sent = defined_mean([bytes_per_turn(record) for record in own.values()])[0]
    centralized = all(record["population"]["trained"] < record["population"]["clients"] for record in own.values())
    return Point(name, sent, score.mean, _known(score.low), _known(score.high), centralized)


def curves(runs: Runs, column: Column) -> Picture | None:
    """Learning curves on validation; None if no entry has one of two rounds."""
    found = {name: curve for name, own in runs.items() if (curve := _curve(own, column.name)) is not None}
    if all(len(curve.rounds) == 1 for curve in found.values()):
        return None
    numbers = [(name, [values.tolist() for values in astuple(curve)]) for name, curve in found.items()]
    draw = partial(draw_curves, found, f"{column.heading} (validation)", _band(runs))
    return Picture("curves", f"Learning curves ({column.heading}) on validation images", numbers, draw)


def bubbles(case: object, record: Record) -> Picture:
    """Who holds which training images in one run."""
    counts, classes = record["population"]["counts"], record["data"]["classes"]
    title = f"training images by client and class\n{case}, seed {record['spec']['seed']}"
    words = f"Training images by client and class, seed {record['spec']['seed']}"
    return Picture("shares", words, (counts, classes), partial(draw_bubbles, np.array(counts), classes, title))


def _curve(own: Mapping[int, Record], metric: str) -> Curve | None:
    """Means over the seeds that have a point at a round."""
    points: dict[int, list[float]] = defaultdict(list)
    for record in own.values():
        for point in record["curve"]:
            if point["split"] == "val" and point.get(metric) is not None:
                points[point["round"] + 1].append(point[metric])
    if not points:
        return None
    means = [mean_interval(points[done]) for done in sorted(points)]
    ends = ([getattr(mean, end) for mean in means] for end in ("mean", "low", "high"))
    return Curve(np.array(sorted(points)), *map(np.array, ends))


def _band(runs: Runs) -> str:
    counts = [len(own) for own in runs.values()]
    fewest, most = min(counts), max(counts)
    if most == 1:
        return "one seed"
    return f"mean of {most if fewest == most else f'{fewest} to {most}'} seeds with its 95 % interval"


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _slug(words: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", words.lower()).strip("-.")
