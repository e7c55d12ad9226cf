"""The partition as a bubble plot: images by client and class."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedbench_core.plots.colors import BLUE
from fedbench_core.plots.style import quiet_grid, wrapped

_NUMBERS_UP_TO = 10
"""With more clients there is no room for numbers."""
_NAME_WIDTH = 24
_LARGEST = 0.9
"""Diameter of the largest bubble in row heights."""
_OVERLAP = 4
"""Greatest diameter in column widths: with many clients neighbors overlap, so that bubbles stay visible."""


def draw_partition(counts: npt.NDArray[np.int64], classes: Sequence[str], title: str) -> Figure:
    """A bubble plot of `counts`, images (clients, classes): areas are proportional to numbers of images."""
    clients, column = len(counts), min(0.8, max(0.09, 7.0 / len(counts)))
    names = [wrapped(name, _NAME_WIDTH) for name in classes]
    widest = max(len(line) for name in names for line in name.split("\n"))
    height = max(0.55, min(column, 0.8))
    size = max(3.0, column * clients) + 0.115 * widest + 1.0, height * len(names) + 1.6
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    quiet_grid(axes)
    axes.set_xlim(-0.6, clients - 0.4)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xticks(range(0, clients, max(1, -(-clients // 25))))
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("client")
    _draw(axes, counts, _LARGEST * 72 * min(_OVERLAP * column, height))
    figure.suptitle(title)
    return figure


def _draw(axes: Axes, counts: npt.NDArray[np.int64], largest: float) -> None:
    """largest: diameter in points (1/72 inch)."""
    clients, classes = np.nonzero(counts)
    sizes = counts[clients, classes]
    areas = largest**2 * sizes / max(1, counts.max())
    axes.scatter(clients, classes, areas, color=BLUE, alpha=0.45, linewidth=0)
    if len(counts) <= _NUMBERS_UP_TO:
        for (client, kind), count in np.ndenumerate(counts):
            axes.text(client, kind, str(count), ha="center", va="center", fontsize="small")
