import numpy as np
import pandas as pd
import pytest

from fedbench_core.plots.ranks import draw_ranks


def _p_values(ranks, critical_difference) -> pd.DataFrame:
    """Small p-values for ranks that differ by more than the critical difference."""
    values = np.array(list(ranks.values()))
    p = np.where(np.abs(values[:, None] - values) > critical_difference, 0.01, 0.5)
    return pd.DataFrame(p, index=list(ranks), columns=list(ranks))


@pytest.mark.parametrize("count", [3, 12])
def test_diagram_names_all_entries(count, words) -> None:
    ranks = {f"entry number {n}": float(n) for n in range(1, count + 1)}
    seen = " ".join(words(draw_ranks(ranks, _p_values(ranks, 2.0), 2.0)))
    assert all(name in seen for name in ranks)
    assert "critical difference 2.00" in seen


def test_bars_join_entries_that_do_not_differ_significantly() -> None:
    """Ranks 1, 2, 4 with a critical difference of 1.5: only the first two."""
    ranks = {"a": 1.0, "b": 2.0, "c": 4.0}
    [axes] = draw_ranks(ranks, _p_values(ranks, 1.5), 1.5).axes
    bars = [tuple(sorted(line.get_xdata())) for line in axes.lines if line.get_linewidth() == 3]
    assert bars == [(1.0, 2.0)]
