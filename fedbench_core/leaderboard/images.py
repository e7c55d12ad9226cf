"""Whether another draw of test images could undo what the seeds claim."""

from functools import lru_cache

from fedbench_core.api.errors import RunError
from fedbench_core.api.seeds import stream
from fedbench_core.federation.bits import codes_of_text
from fedbench_core.leaderboard.cases import Record, Runs, each, name_of
from fedbench_core.records.correctness import image_scores
from fedbench_core.statistics.images import METRICS, Floats, Resamples, agree, compare_images, resample
from fedbench_core.statistics.pairs import Pair

_ROUNDING = 1e-6
"""Scores are means of recalls in single precision."""
Contributions = dict[str, dict[int, Floats]]


def checked(pairs: list[Pair], runs: Runs, metric: str) -> tuple[list[Pair], bool]:
    """The pairs, of which only those stay significant that resampled images show too; and whether there is a check.

    RunError names a record whose score is not what its images make it.
    There is no check for a metric that is no mean over images, nor where runs don't agree on whose the test images are.
    """
    if metric not in METRICS or len({str(record["test"]["groups"]) for record in each(runs)}) != 1:
        return pairs, False
    scores = _contributions(runs, metric)
    if scores is None or not any(pair.significant for pair in pairs):
        return pairs, scores is not None  # nothing that images could take back
    return agree(pairs, compare_images(scores, _drawn(each(runs)[0]))), True


def _contributions(runs: Runs, metric: str) -> Contributions | None:
    scores: Contributions = {}
    for name, own in runs.items():
        for seed, record in own.items():
            images = image_scores(record, metric)
            if images is None:
                return None
            _refuse_another_score(record, metric, float(images.sum()))
            scores.setdefault(name, {})[seed] = images
    return scores


def _refuse_another_score(record: Record, metric: str, told: float) -> None:
    """A seal shows that a file is whole, and not that its score is what its predictions were right about."""
    score = record["test"]["metrics"][metric]
    if score is None or abs(score - told) > _ROUNDING:
        raise RunError(
            f"Suite {record['grid_point']['suite']}: the record of {name_of(record)} says that its {metric} is {score}, "
            f"but the images that it has right make it {told:.6f}. Find out with `fedbench verify` what is right."
        )


def _drawn(record: Record) -> Resamples:
    coded = record["test"]["groups"]
    return _resampled(coded["images"], record["data"]["images"]["test"], coded["kinds"])


@lru_cache(maxsize=4)
def _resampled(groups: str, images: int, kinds: int) -> Resamples:
    """The same draws for the same test images, whatever is compared on them."""
    return resample(codes_of_text(groups, images, kinds), stream(0, "board", "images"))
