"""Ranks as intervals that the significant differences allow."""

from collections.abc import Iterable

from fedbench_core.statistics.pairs import Pair


def rank_intervals(
    entries: Iterable[str], pairs: Iterable[Pair], *, more_is_better: bool = True
) -> dict[str, tuple[int, int]]:
    """For each of k entries (1 + number of significantly better entries, k - number of significantly worse entries)."""
    names = list(entries)
    better, worse = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    for pair in pairs:
        if pair.significant:
            first, last = pair.ordered(more_is_better=more_is_better)
            better[last] += 1
            worse[first] += 1
    return {name: (1 + better[name], len(names) - worse[name]) for name in names}
