"""Learning curves of entries: means over seeds after each round."""

from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from fedbench_core.leaderboard.misfits import Record, Runs
from fedbench_core.plots.curve import Curve
from fedbench_core.statistics.intervals import mean_interval


def learning_curve(own: Mapping[int, Record], metric: str) -> Curve | None:
    """The curve of an entry: means over the seeds that have a validation score after a round; rounds count from one."""
    scores: dict[int, list[float]] = defaultdict(list)
    for record in own.values():
        for point in record["curve"]:
            if point["split"] == "val" and point.get(metric) is not None:
                scores[point["round"] + 1].append(point[metric])
    if not scores:
        return None
    means = [mean_interval(scores[round_]) for round_ in sorted(scores)]
    ends = ([getattr(mean, end) for mean in means] for end in ("mean", "low", "high"))
    return Curve(np.array(sorted(scores)), *map(np.array, ends))


def band_text(runs: Runs) -> str:
    """What the bands of learning curves show."""
    counts = [len(own) for own in runs.values()]
    fewest, most = min(counts), max(counts)
    if most == 1:
        return "one seed"
    return f"mean of {most if fewest == most else f'{fewest} to {most}'} seeds with its 95 % interval"
