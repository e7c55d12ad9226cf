"""Check of significant differences against the sampling of test images."""

from functools import lru_cache

from fedbench_core.api.errors import RunError
from fedbench_core.api.seeds import stream
from fedbench_core.federation.bits import codes_of_text
from fedbench_core.leaderboard.grouping import Record, Runs, all_records, run_name
from fedbench_core.records.correctness import image_scores
from fedbench_core.statistics.bootstrap import METRICS, Floats, Resamples, compare_images, confirm, resample
from fedbench_core.statistics.pairs import Pair

_ROUNDING = 1e-6
"""Scores in records are means of recalls in single precision."""
Contributions = dict[str, dict[int, Floats]]


def confirm_on_images(pairs: list[Pair], runs: Runs, metric: str) -> tuple[list[Pair], bool]:
    """The pairs, significant only if the bootstrap over images agrees, and whether the check applies.

    It doesn't apply to a metric that is not a mean over images, nor if the assignment of test images to clients differs
    between runs. RunError for a record whose score contradicts its predictions.
    """
    if metric not in METRICS or len({str(record["test"]["groups"]) for record in all_records(runs)}) != 1:
        return pairs, False
    scores = _contributions(runs, metric)
    if scores is None or not any(pair.significant for pair in pairs):
        return pairs, scores is not None
    return confirm(pairs, compare_images(scores, _resamples_of(all_records(runs)[0]))), True


def _contributions(runs: Runs, metric: str) -> Contributions | None:
    scores: Contributions = {}
    for name, own in runs.items():
        for seed, record in own.items():
            images = image_scores(record, metric)
            if images is None:
                return None
            _check_score(record, metric, float(images.sum()))
            scores.setdefault(name, {})[seed] = images
    return scores


def _check_score(record: Record, metric: str, expected: float) -> None:
    """A valid digest shows that a record is unaltered, not that its score agrees with its predictions."""
    score = record["test"]["metrics"][metric]
    if score is None or abs(score - expected) > _ROUNDING:
        raise RunError(
            f"Suite {record['grid_point']['suite']}: the record of {run_name(record)} has {metric} {score}, but its "
            f"predictions give {expected:.6f}. Repeat the run and compare: fedbench verify"
        )


def _resamples_of(record: Record) -> Resamples:
    coded = record["test"]["groups"]
    return _resampled(coded["images"], record["data"]["images"]["test"], coded["kinds"])


@lru_cache(maxsize=4)
def _resampled(groups: str, images: int, kinds: int) -> Resamples:
    """The same resamples for all comparisons on the same test images."""
    return resample(codes_of_text(groups, images, kinds), stream(0, "board", "images"))
