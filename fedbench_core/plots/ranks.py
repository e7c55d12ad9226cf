"""The critical-difference diagram of mean ranks over datasets."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from fedbench_core.plots.colors import DARK
from fedbench_core.plots.style import wrapped

_NAME_WIDTH = 22


def draw_ranks(ranks: Mapping[str, float], p: pd.DataFrame, critical_difference: float) -> Figure:
    """Mean ranks on a line (1 is best), with bars over entries that don't differ significantly.

    p: p-values of Nemenyi's test, (entries, entries). Source: Demšar, JMLR 7 (2006), section 3.2.2.
    """
    from scikit_posthocs import critical_difference_diagram  # noqa: PLC0415  # imports seaborn: half a second

    names = {name: wrapped(name, _NAME_WIDTH) for name in ranks}
    shown = {names[name]: rank for name, rank in ranks.items()}
    figure = Figure(figsize=(9, 1.2 + 0.36 * len(ranks)), layout="constrained")
    axes = figure.add_subplot()
    critical_difference_diagram(
        shown,
        p.rename(index=names, columns=names),
        ax=axes,
        color_palette=dict.fromkeys(shown, DARK),
        crossbar_props={"linewidth": 3},
        label_fmt_left="{label} ({rank:.1f})",
        label_fmt_right="({rank:.1f}) {label}",
    )
    figure.suptitle(f"mean rank over datasets; critical difference {critical_difference:.2f}")
    return figure
