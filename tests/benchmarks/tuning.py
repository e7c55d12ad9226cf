"""False claims among equal methods that were tuned separately, on simulated leaderboards.

    python -m tests.benchmarks.tuning [--leaderboards 1000]

The score of a run is a parabola in the logarithm of the learning rate, whose depth is at most `depth` standard
deviations of a run in the range, plus normal noise. "one method, two names": noise is a function of the settings and
the seed, as in a real run. "equal methods": each entry has noise of its own, so that other settings may be chosen,
which then differ in truth; the tests compare the chosen settings and can't know of other choices.
"""

from collections.abc import Iterator

import click
import numpy as np
from scipy import stats

from fedbench_core.api import LogUniform, stream
from fedbench_core.statistics.pairs import compare
from fedbench_core.suites.tuning import draw

RANGE = LogUniform(1e-3, 0.3)
DEFAULT = 0.02
TRIALS, SEEDS = 16, 12


class Simulated:
    """Equal entries on one leaderboard."""

    def __init__(self, board: int, depth: float, own_noise: bool) -> None:
        self._board = board
        self._depth = depth
        self._own_noise = own_noise
        self._best = stream(board, "best").uniform(0.2, 0.8)

    def score(self, entry: int, lr: float, seed: int) -> float:
        """The score of a run."""
        place = np.log(lr / RANGE.low) / np.log(RANGE.high / RANGE.low)
        noise = stream(self._board, "noise", entry if self._own_noise else 0, f"{lr}", seed).normal()
        return float(-self._depth * (place - self._best) ** 2 / 0.64 + noise)

    def tuned(self, entry: int, tuning_seeds: int) -> dict[int, float | None]:
        """The scores of an entry by seed, with the learning rate that its trials choose."""
        tried = [trial.get("lr", DEFAULT) for trial in draw(f"board {self._board}", {"lr": RANGE}, TRIALS)]
        means = [np.mean([self.score(entry, lr, 1000 + seed) for seed in range(tuning_seeds)]) for lr in tried]
        return {seed: self.score(entry, tried[int(np.argmax(means))], seed) for seed in range(SEEDS)}


def claims(entries: int, depth: float, tuning_seeds: int, own_noise: bool, boards: int) -> Iterator[tuple[bool, bool]]:
    """For each leaderboard, whether the first two entries are claimed to differ, and whether any two are."""
    for board in range(boards):
        simulated = Simulated(board, depth, own_noise)
        pairs = compare({f"entry {entry}": simulated.tuned(entry, tuning_seeds) for entry in range(entries)})
        yield pairs[0].significant, any(pair.significant for pair in pairs)


@click.command()
@click.option("--leaderboards", default=1000, show_default=True)
def main(leaderboards: int) -> None:
    """Print each rate with its 95 % interval (Clopper and Pearson)."""
    for own_noise, entries, tuning_seeds, depth in (
        (False, 2, 2, 10.0),
        *((True, entries, seeds, depth) for entries in (2, 7) for seeds in (2, 6) for depth in (0.0, 3.0, 10.0, 30.0)),
    ):
        found = np.array(list(claims(entries, depth, tuning_seeds, own_noise, leaderboards)))
        name = "equal methods" if own_noise else "one method, two names"
        for which, wrong in zip(("first two", "any two"), found.sum(axis=0), strict=True):
            low, high = stats.binomtest(int(wrong), leaderboards).proportion_ci()
            text = f"{name}, {entries} entries, {tuning_seeds} tuning seeds, depth {depth:g}: {which}"
            click.echo(f"{text:<75} {wrong / leaderboards:.3f}  [{low:.3f}, {high:.3f}]")


if __name__ == "__main__":
    main()
