"""Leaderboards of records that are real but for their numbers: one tiny run, told anew for every grid point of a suite."""

import copy
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from fedbench_core import RunSpec, run
from fedbench_core.federation.bits import codes_of_text, text_of_bits
from fedbench_core.records.record import _text, sealed
from fedbench_core.runner import How
from fedbench_core.statistics.images import METRICS, contributions
from fedbench_core.suites.filing import records_of
from fedbench_core.suites.suite import GridPoint, read_suite

RIGHT = {
    "local": (3, 4),
    "local, equal FLOPs": (4, 4, 5),
    "centralized": (28, 27, 27, 27),
    "fedavg": (16, 15),
    "fedavg-ft": (16, 17, 17),
}
"""Of 30 test images, how many an entry gets right, seed by seed and over again."""
ENTRIES = [
    {"name": "local", "method": "local"},
    {"name": "local, equal FLOPs", "method": "local", "steps": 4},
    *({"name": name, "method": name} for name in ("centralized", "fedavg", "fedavg-ft")),
]
BASELINES = {"steps": "local", "flops": "local, equal FLOPs", "centralized": "centralized", "tuned": "fedavg-ft"}


class Shelf:
    """A folder of suites with their records, as `leaderboards/` is one."""

    def __init__(self, folder: Path, template: dict[str, Any]) -> None:
        self.folder = folder
        self.template = template

    baselines = BASELINES
    entries = ENTRIES

    def suite(self, name: str = "small", **changes: Any) -> Path:
        """The file of a suite; `changes` replace its keys, None takes one away."""
        values = {
            "name": name,
            "question": "Does it help?",
            "seeds": 5,
            "datasets": ["spots"],
            "backbones": ["tiny"],
            "settings": {"clients": 3, "rounds": 2, "steps": 2},
            "partitions": [{"name": "Dirichlet 0.3"}],
            "entries": ENTRIES,
            "baselines": BASELINES,
            **changes,
        }
        file = self.folder / "suites" / f"{name}.toml"
        file.parent.mkdir(parents=True, exist_ok=True)
        # JSON is TOML's inline values but for the colon: good enough for names, numbers, lists and flat tables.
        lines = [f"{key} = {_toml(value)}" for key, value in values.items() if value is not None]
        file.write_text("\n".join(lines))
        return file

    def fill(
        self, file: Path, right: Callable[[GridPoint], int | None] | None = None, change: Any = None
    ) -> list[Path]:
        """File a record for every grid point: `right` says of how many images (None: no record), `change` what else."""
        right = right or (lambda grid_point: RIGHT[grid_point.entry][grid_point.seed % len(RIGHT[grid_point.entry])])
        made = []
        for grid_point in read_suite(file).grid_points():
            count = right(grid_point)
            if count is not None:
                record = self.record(grid_point, count)
                if change is not None:
                    change(record, grid_point)
                made.append(_file(record, grid_point, records_of(file)))
        return made

    def record(self, grid_point: GridPoint, right: int) -> dict[str, Any]:
        """The template as the grid_point's, whose clients all get the first `right` images right."""
        record = copy.deepcopy(self.template)
        settings = {**grid_point.settings, "set": {}}
        record["spec"] |= {
            **settings,
            "dataset": grid_point.dataset,
            "seed": grid_point.seed,
            "backbones": list(settings["backbones"]),
        }
        method = grid_point.settings["method"]
        silent = method in ("local", "centralized")
        record["population"]["trained"] = 1 if method == "centralized" else record["population"]["clients"]
        record["costs"] |= {"bytes_up": 0 if silent else 6_000_000, "bytes_down": 0 if silent else 3_000_000}
        record["costs"]["training_gflops"] = 2.0 if grid_point.settings.get("steps") == 4 else 1.0
        if method == "fedavg-ft":
            record["costs"]["training_gflops"] = 2.1
            record["test"]["roles"] = {"global": {}}
        record["how"]["seconds"] = 3.0 + grid_point.seed
        told(record, right, own=method not in ("centralized", "fedavg"))
        return record


def _file(record: dict[str, Any], grid_point: GridPoint, folder: Path) -> Path:
    """As `file_record`, but for waiting until the disk has it, which takes longer than everything else here."""
    path = folder / f"{grid_point.name}.json"
    folder.mkdir(parents=True, exist_ok=True)
    contents = {name: value for name, value in record.items() if name != "digest"}
    path.write_text(_text(sealed({**contents, "grid_point": grid_point.block})), encoding="utf-8")
    return path


def told(record: dict[str, Any], right: int, *, own: bool = False) -> None:
    """Make a record say that the first `right` images are right, of one predictor or of one for each client."""
    images, clients = record["data"]["images"]["test"], record["population"]["clients"]
    bits = text_of_bits(np.packbits(np.arange(images) < right))
    test = record["test"]
    test["correct"] = [bits] * (clients if own else 1)
    test["matrix"]["predictor_of_client"] = list(range(clients)) if own else [0] * clients
    groups, counts = test["groups"]["images"], json.dumps(record["population"]["counts"])
    shape = (images, clients, test["groups"]["kinds"])
    part = right / images
    test["metrics"] |= {**_means(right, groups, counts, shape), "auc": 0.5 + 0.3 * part, "worst_client": 0.8 * part}
    test["metrics"]["ece"] = 0.3 - 0.1 * part
    for number, point in enumerate(record["curve"]):
        point |= {"personalization": test["metrics"]["personalization"] / (len(record["curve"]) - number)}


@cache
def _means(right: int, groups: str, counts: str, shape: tuple[int, int, int]) -> dict[str, float]:
    """The scores that are means over images, of one predictor that gets the first `right` images right."""
    images, clients, kinds = shape
    found = np.arange(images)[None] < right, codes_of_text(groups, images, kinds), np.array(json.loads(counts))
    scores = {metric: contributions(metric, *found, [0] * clients) for metric in METRICS}
    return {metric: float(score.sum()) for metric, score in scores.items()}


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(inner)}" for key, inner in value.items()) + "}"
    return "[" + ", ".join(map(_toml, value)) + "]" if isinstance(value, list) else json.dumps(value)


def run_template(out: Path) -> dict[str, Any]:
    """The record of a tiny run; its parts must be installed."""
    settings = {"method": "fedavg", "backbones": "tiny", "dataset": "spots", "clients": 3, "rounds": 2, "steps": 2}
    return run(RunSpec.of(settings), How(out=out, executor="serial")).record
