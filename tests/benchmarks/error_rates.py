"""False claims among equal entries, and power, of the tests that leaderboards use, on simulated leaderboards.

    python -m tests.benchmarks.error_rates [--leaderboards 2000]

All leaderboards have 7 entries and 12 seeds unless said otherwise. A false claim is any significant difference between
entries with equal means. "collapse": one entry fails in each run with a probability of 8 %, `depth` standard deviations
deep, and has the same mean as the others; in 37 % of leaderboards no failure is among its 12 runs, where no test over
seeds can know of it. "planned": 12 entries, 6 planned pairs of 66; a planned pair and another differ by as much.
"""

from collections.abc import Callable, Collection

import click
import numpy as np
import numpy.typing as npt
from scipy import stats

from fedbench_core.statistics.image_variance import ImageScores
from fedbench_core.statistics.pairs import compare, holm

Floats = npt.NDArray[np.float64]
RATIOS = (0, 0.5, 1, 2, 8)
COLLAPSES = 0.08
SHARES = (6 / 66, 0.5, 0.7, 0.8, 0.9, 1.0)
"""Of the planned pairs in the level: as much as the other pairs have, and more; 1 is a family of their own."""


def main_effects(rng: np.random.Generator, ratio: float, images: int = 150) -> Floats:
    """Contributions (entries, seeds, images) in which images and seeds cause standard deviations in this ratio."""
    drawn = rng.normal(size=(7, 12, 1)) / images + ratio * rng.normal(size=(7, 1, images)) / np.sqrt(12 * images)
    return np.asarray(drawn + 0.5 * rng.normal(size=(7, 12, images)) / np.sqrt(images))


def collapse(rng: np.random.Generator, depth: float) -> tuple[Floats, bool]:
    """Scores (seeds, entries), and whether any run failed."""
    scores, failed = rng.normal(size=(12, 7)), rng.random(12) < COLLAPSES
    scores[:, 0] += depth * (COLLAPSES - failed)
    return scores, bool(failed.any())


def claims(scores: Floats, images: ImageScores | None = None, planned: Collection[frozenset[str]] = ()) -> bool:
    """Whether any pair of entries, the columns of `scores`, differs significantly."""
    return any(pair.significant for pair in compare(_leaderboard(scores), images, planned))


def sign_flips(scores: Floats) -> bool:
    """The same with an exact test over all sign flips of the differences instead of the t-test."""
    first, second = np.triu_indices(scores.shape[1], 1)
    differences = scores[:, first] - scores[:, second]
    signs = 1 - 2 * (np.arange(2 ** len(scores))[:, None] >> np.arange(len(scores)) & 1)
    p = (np.abs(signs @ differences) >= np.abs(differences.sum(axis=0)) - 1e-12).mean(axis=0)
    return bool(p.min() <= 0.05 / len(p))


def power(rng: np.random.Generator, entries: int, seeds: int, effect: float) -> bool:
    """Whether a difference of `effect` standard deviations of the paired differences is found."""
    scores = rng.normal(size=(seeds, entries)) / np.sqrt(2)
    scores[:, 0] += effect
    return compare(_leaderboard(scores))[0].significant


def planned_power(rng: np.random.Generator, effect: float) -> list[tuple[bool, bool]]:
    """For each of the shares, whether a planned pair and another are found that differ by `effect` deviations."""
    scores = rng.normal(size=(12, 12)) / np.sqrt(2)
    scores[:, [1, 4]] += effect
    pairs = compare(_leaderboard(scores))
    names = [(pair.a, pair.b) for pair in pairs]
    planned = np.isin(range(len(pairs)), [names.index((f"entry {at}", f"entry {at + 1}")) for at in range(0, 12, 2)])
    both = [names.index(("entry 0", "entry 1")), names.index(("entry 2", "entry 4"))]
    found = []
    for share in SHARES:
        weights = np.where(planned, share / planned.sum(), max(1 - share, 1e-12) / (~planned).sum())
        first, second = holm(np.array([pair.p for pair in pairs]), weights)[0][both].tolist()
        found.append((first, second))
    return found


def _leaderboard(scores: Floats) -> dict[str, dict[int, float | None]]:
    return {f"entry {i}": dict(enumerate(own)) for i, own in enumerate(scores.T.tolist())}


def _show(name: str, found: list[bool]) -> None:
    low, high = stats.binomtest(sum(found), len(found)).proportion_ci()
    click.echo(f"{name:<58} {np.mean(found):.3f}  [{low:.3f}, {high:.3f}]")


def _with_images(rng: np.random.Generator, ratio: float) -> tuple[bool, bool]:
    drawn = main_effects(rng, ratio)
    by_entry = {f"entry {i}": dict(enumerate(own)) for i, own in enumerate(drawn)}
    sums = drawn.sum(axis=2).T
    return claims(sums), claims(sums, ImageScores(by_entry, np.zeros(drawn.shape[2], np.int64)))


@click.command()
@click.option("--leaderboards", default=2000, show_default=True)
def main(leaderboards: int) -> None:
    """Print each rate with its 95 % interval (Clopper and Pearson)."""
    rng = np.random.default_rng(0)
    for ratio in RATIOS:
        over_seeds, combined = zip(*(_with_images(rng, ratio) for _ in range(leaderboards)), strict=True)
        _show(f"false claims, images/seeds {ratio}: over seeds only", list(over_seeds))
        _show(f"false claims, images/seeds {ratio}: with images", list(combined))
    noises: dict[str, Callable[[], Floats]] = {
        "t noise, 3 degrees of freedom": lambda: rng.standard_t(3, size=(12, 7)),
        "standard deviations from 1 to 10": lambda: rng.normal(size=(12, 7)) * np.geomspace(1, 10, 7),
    }
    for name, draw in noises.items():
        _show(f"false claims, {name}", [claims(draw()) for _ in range(leaderboards)])
    planned = {frozenset((f"entry {at}", f"entry {at + 1}")) for at in (1, 3, 5)}
    _show(
        "false claims, three planned pairs",
        [claims(rng.normal(size=(12, 7)), planned=planned) for _ in range(leaderboards)],
    )
    for depth in (2, 5, 10, 20):
        drawn = [collapse(rng, depth) for _ in range(leaderboards)]
        _show(f"false claims, collapse {depth}", [claims(scores) for scores, _ in drawn])
        _show(f"false claims, collapse {depth}: sign flips", [sign_flips(scores) for scores, _ in drawn])
        _show(
            f"false claims, collapse {depth}: some run failed", [claims(scores) for scores, failed in drawn if failed]
        )
    for entries, seeds in ((5, 10), (7, 12)):
        found = [power(rng, entries, seeds, 1.5) for _ in range(leaderboards)]
        _show(f"power at 1.5 standard deviations, {entries} entries, {seeds} seeds", found)
    for effect in (1.0, 1.5):
        by_share = zip(*(planned_power(rng, effect) for _ in range(leaderboards)), strict=True)
        for share, of_share in zip(SHARES, by_share, strict=True):
            planned, others = zip(*of_share, strict=True)
            _show(f"power at {effect}, planned share {share:.2f}: a planned pair", list(planned))
            _show(f"power at {effect}, planned share {share:.2f}: another pair", list(others))


if __name__ == "__main__":
    main()
