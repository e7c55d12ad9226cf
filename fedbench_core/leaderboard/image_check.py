"""What test images contribute to the scores of a leaderboard, so that its tests include their sampling."""

from fedbench_core.api.errors import RunError
from fedbench_core.leaderboard.grouping import Record, Runs, all_records, run_name
from fedbench_core.records.correctness import image_groups, image_scores
from fedbench_core.statistics.contributions import METRICS, Floats
from fedbench_core.statistics.image_variance import ImageScores

_ROUNDING = 1e-6
"""Scores in records are means of recalls in single precision."""


def images_of(runs: Runs, metric: str) -> ImageScores | None:
    """The contributions of test images to the ranked scores; None if tests can be over seeds only.

    That is so for a metric that is not a mean over images, and if the assignment of test images to clients differs
    between runs. RunError for a record whose score contradicts its predictions.
    """
    records = all_records(runs)
    if metric not in METRICS or len({str(record["test"]["groups"]) for record in records}) != 1:
        return None
    found: dict[str, dict[int, Floats]] = {}
    for name, own in runs.items():
        for seed, record in own.items():
            images = image_scores(record, metric)
            if images is None:
                return None
            _check_score(record, metric, float(images.sum()))
            found.setdefault(name, {})[seed] = images
    return ImageScores(found, image_groups(records[0]))


def _check_score(record: Record, metric: str, expected: float) -> None:
    """A valid digest shows that a record is unaltered, not that its score agrees with its predictions."""
    score = record["test"]["metrics"][metric]
    if score is None or abs(score - expected) > _ROUNDING:
        raise RunError(
            f"Suite {record['grid_point']['suite']}: the record of {run_name(record)} has {metric} {score}, but its "
            f"predictions give {expected:.6f}. Repeat the run and compare: fedbench verify"
        )
