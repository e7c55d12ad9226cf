"""The part of the variance of paired differences that comes from the sample of test images.

All seeds share one test set, so a test over seeds ignores that the test set itself is a sample. The difference of two
scores, averaged over seeds, has the variance V_seeds + V_images - V_interaction. V_seeds and V_images come from means
over the other factor; both contain V_interaction, which comes from the residuals.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fedbench_core.statistics.contributions import Floats, Ints


@dataclass(frozen=True)
class ImageScores:
    """What each test image contributes to the score of each run.

    by_entry: entry -> seed -> contributions (images,), which add up to the score. groups: (images,), the classes or
    clients whose numbers of images are fixed.
    """

    by_entry: Mapping[str, Mapping[int, Floats]]
    groups: Ints

    @cached_property
    def degrees_of_freedom(self) -> int:
        """Images less groups, at least 1."""
        return max(1, len(self.groups) - len(np.unique(self.groups)))


def image_variances(scores: ImageScores, names: Sequence[str]) -> tuple[Floats, Floats]:
    """V_images and V_interaction of the difference of each pair of entries, (pairs,) in the order of `triu_indices`.

    NaN for pairs of entries with different seeds, which are not tested.
    """
    images, interaction = np.full((2, len(names), len(names)), np.nan)
    seeds = {name: tuple(sorted(scores.by_entry[name])) for name in names}
    for alike in set(seeds.values()):
        own = [at for at, name in enumerate(names) if seeds[name] == alike]
        table = np.array([[scores.by_entry[names[at]][seed] for seed in alike] for at in own])
        images[np.ix_(own, own)], interaction[np.ix_(own, own)] = _covariances(table, scores.groups)
    return _of_differences(images), _of_differences(interaction)


def _covariances(table: Floats, groups: Ints) -> tuple[Floats, Floats]:
    """Covariances (entries, entries) of the entries' mean scores, due to images and due to images x seeds.

    table: (entries, seeds, images). Both are zero with fewer than two seeds.
    """
    entries, seeds, _ = table.shape
    if seeds < 2:  # noqa: PLR2004  # the interaction can't be estimated
        return np.zeros((entries, entries)), np.zeros((entries, entries))
    centered = _centered(table, groups)
    means = centered.mean(axis=1)
    residuals = (centered - means[:, None]).reshape(entries, -1)
    return means @ means.T, residuals @ residuals.T / ((seeds - 1) * seeds)


def _centered(table: Floats, groups: Ints) -> Floats:
    """Deviations from the mean of the group, times sqrt(n / (n - 1)); their squares add up to the variance of a sum."""
    order = np.argsort(groups, kind="stable")
    starts, sizes = np.unique(groups[order], return_index=True, return_counts=True)[1:]
    means = np.add.reduceat(table[..., order], starts, axis=-1) / sizes
    factor = np.sqrt(sizes / np.maximum(sizes - 1, 1))
    deviations = (table[..., order] - means.repeat(sizes, axis=-1)) * factor.repeat(sizes)
    return np.asarray(deviations)


def _of_differences(covariances: Floats) -> Floats:
    """Var(a - b) = Var(a) + Var(b) - 2 Cov(a, b) for each pair."""
    first, second = np.triu_indices(len(covariances), 1)
    own = covariances.diagonal()
    return np.maximum(own[first] + own[second] - 2 * covariances[first, second], 0.0)
