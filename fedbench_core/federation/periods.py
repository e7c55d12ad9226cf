"""Scores of methods with a period: means over the last whole period of rounds. Needs no torch, as `matrix`."""

from collections.abc import Mapping, Sequence

from fedbench_core.federation.matrix import mean_of_defined

Metrics = dict[str, float | int | None]
_OF_LAST = "n"
"""A count rather than a score: of the predictions in one round."""


def window(round_: int, period: int) -> range:
    """The rounds over which the scores after a round are means: the round itself before the end of the first period."""
    return range(round_ + 1 - period if round_ + 1 >= period else round_, round_ + 1)


def windows(rounds: int, every: int, period: int) -> frozenset[int]:
    """The rounds that points of a learning curve are means over, with a point every so many rounds; 0 for none."""
    due = range(every - 1, rounds, every) if every else range(0)
    return frozenset(one for round_ in due for one in window(round_, period))


def mean_metrics(found: Sequence[Mapping[str, float | int | None]]) -> Metrics:
    """The mean of each score over the rounds in which it is defined, in order of round."""
    last = dict(found[-1])
    if len(found) == 1:
        return last
    names = {name: None for one in found for name in one}
    means = {name: mean_of_defined([one.get(name) for one in found])[0] for name in names}
    return {**means, _OF_LAST: last[_OF_LAST]}
