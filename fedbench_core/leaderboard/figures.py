"""The figures of a leaderboard: their file names, alternative texts, data, and how to draw them."""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from fedbench_core.escapes import line
from fedbench_core.leaderboard.columns import Column
from fedbench_core.leaderboard.curves import band_text, learning_curve
from fedbench_core.leaderboard.leaderboard import Leaderboard
from fedbench_core.leaderboard.misfits import Record, Runs, all_records
from fedbench_core.leaderboard.table import Row, Table
from fedbench_core.plots.curves import draw_curves
from fedbench_core.plots.partition import draw_partition
from fedbench_core.plots.ranks import draw_ranks
from fedbench_core.plots.style import DPI, drawn, save
from fedbench_core.plots.tradeoff import Point, draw_tradeoff
from fedbench_core.statistics.friedman import nemenyi
from fedbench_core.statistics.intervals import Interval

_LONGEST_STEM = 180
FOLDER = "pictures"


@dataclass(frozen=True)
class PageFigure:
    """A figure: the name of its file without suffix, its alternative text, its data, and the function that draws it."""

    name: str
    alt_text: str
    data: Any
    draw: Callable[[], Figure]

    @property
    def digest(self) -> str:
        """A digest of the data. Files are compared by it, because their bytes depend on the version of matplotlib."""
        return hashlib.sha256(repr((self.alt_text, self.data)).encode()).hexdigest()

    def save(self, path: Path, dpi: int = DPI) -> None:
        """Write an SVG, PNG or PDF, by the suffix of `path`; errors as in `plots.style.save`."""
        save(path, self.draw, dpi=dpi)

    def _repr_png_(self) -> bytes:
        """The picture that a notebook shows."""
        return drawn(self.draw, ".png")

    @property
    def link(self) -> tuple[str, str]:
        """The alternative text, and the path from the page."""
        return self.alt_text, f"{FOLDER}/{self.name}.svg"


def leaderboard_figures(leaderboard: Leaderboard) -> tuple[list[list[PageFigure]], list[PageFigure]]:
    """The figures of each table, and those over datasets."""
    entries = [entry.name for entry in leaderboard.suite.entries]
    of_tables = [table_figures(leaderboard.suite.name, table, entries) for table in leaderboard.tables]
    names = Counter(figure.name for figures in of_tables for figure in figures)
    distinct = [[_distinguished(one) if names[one.name] > 1 else one for one in figures] for figures in of_tables]
    return distinct, dataset_figures(leaderboard)


def _distinguished(figure: PageFigure) -> PageFigure:
    """A figure whose name differs from that of another case: `≥ 3` and `≤ 3` are `3` in names of files."""
    return replace(figure, name=f"{figure.name}-{hashlib.sha256(figure.alt_text.encode()).hexdigest()[:8]}")


def table_figures(suite: str, table: Table, entries: Sequence[str] = ()) -> list[PageFigure]:
    """Score against bytes; learning curves, if the validation score was recorded in several rounds; the partition.

    entries: all entries of the suite, so that each has one color and marker in the pictures of all tables.
    """
    if not table.rows:
        return []
    records = all_records(table.runs)
    found = [
        tradeoff_figure(table, entries),
        curves_figure(table.runs, table.ranked_by, str(table.case), entries),
        partition_figure(table.case, records[0]),
    ]
    stem = "-".join(map(_slug, (suite, *filter(None, table.case.parts))))
    if len(stem) > _LONGEST_STEM:  # file systems have names of 255 bytes
        stem = f"{stem[: _LONGEST_STEM - 9]}-{hashlib.sha256(stem.encode()).hexdigest()[:8]}"
    return [
        replace(figure, name=f"{stem}-{figure.name}", alt_text=f"{figure.alt_text}: {table.case}")
        for figure in found
        if figure is not None
    ]


def dataset_figures(leaderboard: Leaderboard) -> list[PageFigure]:
    """The critical-difference diagram, if Friedman's test is significant."""
    over_datasets = leaderboard.over_datasets
    if over_datasets is None or over_datasets.critical_difference is None or not over_datasets.significant:
        return []
    ranks, by_dataset, difference = over_datasets.ranks, over_datasets.by_dataset, over_datasets.critical_difference
    alt_text = "Critical-difference diagram: mean ranks over datasets"
    name = f"{_slug(leaderboard.suite.name)}-ranks"
    return [PageFigure(name, alt_text, (ranks, difference), lambda: draw_ranks(ranks, nemenyi(by_dataset), difference))]


def tradeoff_figure(table: Table, entries: Sequence[str] = ()) -> PageFigure:
    """The ranked score of each entry against its bytes per client and round."""
    points = [
        _point(row, score, reference=row.entry in table.references)
        for row in table.rows
        if not math.isnan((score := row.intervals[table.ranked_by.name]).mean)
    ]
    column = table.ranked_by
    numbers = _numbers(entries or list(table.runs))
    title = f"{column.heading} against bytes: {table.case}"
    styles: dict[str, Any] = {"more_is_better": column.more_is_better, "title": title, "numbers": numbers}
    draw = partial(draw_tradeoff, points, column.heading, **styles)
    return PageFigure("bytes", f"{column.heading} against bytes", points, draw)


def _point(row: Row, score: Interval, *, reference: bool) -> Point:
    """reference: whether the score is a line, because the entry is no federated method."""
    return Point(row.entry, row.bytes_per_turn, score.mean, _defined(score.low), _defined(score.high), reference)


def curves_figure(runs: Runs, column: Column, case: str = "", entries: Sequence[str] = ()) -> PageFigure | None:
    """Learning curves on validation images; None if no entry has a curve of at least two rounds."""
    found = {name: curve for name, own in runs.items() if (curve := learning_curve(own, column.name)) is not None}
    if all(len(curve.rounds) == 1 for curve in found.values()):
        return None
    data = [(name, [values.tolist() for values in astuple(curve)]) for name, curve in found.items()]
    title = f"learning curves on validation images{case and f': {case}'}"
    numbers = _numbers(entries or list(runs))
    draw = partial(draw_curves, found, f"{column.heading} (validation)", band_text(runs), title, numbers)
    return PageFigure("curves", f"Learning curves ({column.heading}) on validation images", data, draw)


def _numbers(entries: Sequence[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(entries)}


def partition_figure(case: object, record: Record) -> PageFigure:
    """The training images of one run by client and class."""
    counts, classes = record["population"]["counts"], record["data"]["classes"]
    alt_text = f"Training images by client and class, seed {record['spec']['seed']}"
    title = f"training images by client and class\n{line(str(case))}, seed {record['spec']['seed']}"
    return PageFigure(
        "partition", alt_text, (counts, classes), partial(draw_partition, np.array(counts), classes, title)
    )


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")
