import numpy as np
import pandas as pd
import pytest

from fedbench_core.plots.ranks import draw_ranks


def _apart(ranks, critical_difference) -> pd.DataFrame:
    """p-values as of a test that tells apart what differs by more than the critical difference."""
    places = np.array(list(ranks.values()))
    p = np.where(np.abs(places[:, None] - places) > critical_difference, 0.01, 0.5)
    return pd.DataFrame(p, index=list(ranks), columns=list(ranks))


@pytest.mark.parametrize("count", [3, 12])
def test_every_entry_stands_at_its_rank(count, words) -> None:
    ranks = {f"entry number {n}": float(n) for n in range(1, count + 1)}
    seen = " ".join(words(draw_ranks(ranks, _apart(ranks, 2.0), 2.0)))
    assert all(name in seen for name in ranks)
    assert "critical difference 2.00" in seen


def test_bars_join_what_is_not_told_apart() -> None:
    """Ranks 1, 2, 4 with a critical difference of 1.5: the first two, and nothing else."""
    ranks = {"a": 1.0, "b": 2.0, "c": 4.0}
    [axes] = draw_ranks(ranks, _apart(ranks, 1.5), 1.5).axes
    bars = [tuple(sorted(line.get_xdata())) for line in axes.lines if line.get_linewidth() == 3]
    assert bars == [(1.0, 2.0)]
