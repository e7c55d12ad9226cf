"""What test images contribute to the scores of a leaderboard, so that its tests include their sampling."""

import numpy as np

from fedbench_core.api.errors import RequestError
from fedbench_core.federation.bits import Codes
from fedbench_core.leaderboard.misfits import Record, Runs, all_records
from fedbench_core.records.correctness import AUC, image_groups, image_scores
from fedbench_core.records.predictions import true_classes
from fedbench_core.statistics.contributions import METRICS, Floats
from fedbench_core.statistics.image_variance import ImageScores


def images_of(runs: Runs, metric: str) -> ImageScores | None:
    """The contributions of test images to the ranked scores; None if tests can be over seeds only.

    That is so for a metric that is neither a mean over images nor the AUC, if the assignment of test images to clients
    differs between runs, and for the AUC of records that don't keep what images contribute to it.
    """
    groups = _groups(all_records(runs), metric)
    if groups is None:
        return None
    found: dict[str, dict[int, Floats]] = {}
    for name, own in runs.items():
        for seed, record in own.items():
            images = image_scores(record, metric)
            if images is None:
                return None
            found.setdefault(name, {})[seed] = images
    return ImageScores(found, groups)


def _groups(records: list[Record], metric: str) -> Codes | None:
    """The groups of test images whose sizes are fixed: for the AUC their classes, of several labels none."""
    if metric == AUC:
        return _classes(records[0]) if records else None
    alike = len({str(record["test"]["groups"]) for record in records}) == 1
    return image_groups(records[0]) if metric in METRICS and alike else None


def _classes(record: Record) -> Codes | None:
    if record["data"]["task"] == "multi-label":
        return np.zeros(record["data"]["images"]["test"], np.int64)
    try:
        return true_classes(record)
    except RequestError:  # of an earlier version
        return None
