"""Style and output of all plots: fonts, colors, and files with reproducible bytes."""

import io
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from fedbench_core.api import RequestError
from fedbench_core.escapes import line, lines
from fedbench_core.federation.files import replace_file
from fedbench_core.plots.colors import COLORS

FORMATS = (".svg", ".png", ".pdf")
DPI = 100
TITLE_WIDTH = 76
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "d", "h")
"""Shapes distinguish more entries than there are colors, and serve readers who see no colors."""

# A page shows 9 inches with about 900 pixels: 13 points are readable at half that size.
_SETTINGS: dict[Any, Any] = {
    "font.size": 13,
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that plots don't depend on the machine
    "axes.titlesize": 13,
    "axes.labelsize": 13,
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
    "legend.fontsize": 12,
    "figure.titlesize": 14,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "fedbench",
    "svg.fonttype": "path",
    "text.parse_math": False,  # a dollar sign in a name is no formula
}
# Without the date and the version of matplotlib, equal plots have equal bytes.
_METADATA: dict[str, dict[str, str | None]] = {
    ".svg": {"Date": None, "Creator": None},
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def check_name(path: Path) -> None:
    """RequestError for a file name with another suffix than .svg, .png or .pdf."""
    if path.suffix not in FORMATS:
        raise RequestError(f"{path}: expected a name that ends in {', '.join(FORMATS)}.")


def save(path: Path, draw: Callable[[], Figure], description: str = "", dpi: int = DPI) -> None:
    """Draw a figure and write it atomically as SVG, PNG or PDF, by the suffix of `path`; with reproducible bytes.

    description: written to the metadata of an SVG; dpi: pixels per inch of a PNG. RequestError for another suffix,
    RunError if writing fails.
    """
    check_name(path)
    replace_file(path, drawn(draw, path.suffix, description, dpi))


def drawn(draw: Callable[[], Figure], suffix: str = ".svg", description: str = "", dpi: int = DPI) -> bytes:
    """A figure as a file with that suffix; equal figures have equal bytes."""
    metadata = dict(_METADATA[suffix])
    if description and suffix == ".svg":
        metadata["Description"] = description
    buffer = io.BytesIO()
    with rc_context(_SETTINGS):
        figure = draw()
        for artist in figure.findobj(Text):
            artist.set_text(lines(artist.get_text()))
        figure.savefig(buffer, format=suffix[1:], metadata=metadata, dpi=dpi)
    return buffer.getvalue()


def look(number: int) -> dict[str, Any]:
    """The color and the marker of the entry with that number, the same in every picture."""
    return {"color": COLORS[number % len(COLORS)], "marker": MARKERS[number % len(MARKERS)]}


def wrapped(name: str, width: int) -> str:
    """A name broken into lines of at most `width` characters."""
    shown = line(name)  # before the plot is laid out
    return "\n".join(textwrap.wrap(shown, width)) or shown


def quiet_grid(axes: Axes) -> None:
    """A pale grid behind the data."""
    axes.grid(visible=True, color="#E5E5E5", linewidth=0.8)
    axes.set_axisbelow(True)
