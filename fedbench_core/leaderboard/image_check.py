"""What test images contribute to the scores of a leaderboard, so that its tests include their sampling."""

from fedbench_core.leaderboard.misfits import Runs, all_records
from fedbench_core.records.correctness import image_groups, image_scores
from fedbench_core.statistics.contributions import METRICS, Floats
from fedbench_core.statistics.image_variance import ImageScores


def images_of(runs: Runs, metric: str) -> ImageScores | None:
    """The contributions of test images to the ranked scores; None if tests can be over seeds only.

    That is so for a metric that is not a mean over images, and if the assignment of test images to clients differs
    between runs.
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
            found.setdefault(name, {})[seed] = images
    return ImageScores(found, image_groups(records[0]))
