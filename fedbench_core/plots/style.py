"""How every picture looks and is written: large type, colors told apart by all, the same bytes each time."""

import io
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedbench_core.api import RequestError
from fedbench_core.federation.files import replace_file

FORMATS = (".svg", ".png", ".pdf")
BLUE, GREY, DARK = "#0072B2", "#B8B8B8", "#333333"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette without its yellow, which is too pale for lines on white."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "d", "h")
"""Shapes, because colors alone run out, and some readers have none."""

# On a page 9 inches are about 900 pixels: 13 points can still be read when that is halved.
_SETTINGS: dict[Any, Any] = {
    "font.size": 13,
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that pictures don't depend on the machine
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
}
# What a format would write of the time and the library: equal pictures are to be equal bytes.
_UNDATED: dict[str, dict[str, str | None]] = {
    ".svg": {"Date": None, "Creator": None},
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def check_name(path: Path) -> None:
    """RequestError for a file whose ending is no picture's."""
    if path.suffix not in FORMATS:
        raise RequestError(f"{path}: expected a name that ends in {', '.join(FORMATS)}.")


def save(path: Path, draw: Callable[[], Figure], told: str = "") -> None:
    """Write what `draw` makes, whole, as SVG, PNG or PDF after the ending of `path`; the same bytes each time.

    told: kept in an SVG as its description. RequestError for another ending, RunError if it can't be written.
    """
    check_name(path)
    metadata = dict(_UNDATED[path.suffix])
    if told and path.suffix == ".svg":
        metadata["Description"] = told
    sheet = io.BytesIO()
    with rc_context(_SETTINGS):
        draw().savefig(sheet, format=path.suffix[1:], metadata=metadata, dpi=100)
    replace_file(path, sheet.getvalue())


def wrapped(name: str, width: int) -> str:
    """A name over as many lines as it takes, none longer than `width`."""
    return "\n".join(textwrap.wrap(name, width)) or name


def quiet_grid(axes: Axes) -> None:
    """Pale lines behind the data."""
    axes.grid(visible=True, color="#E5E5E5", linewidth=0.8)
    axes.set_axisbelow(True)
