"""Suites with records for tests: the record of one tiny run, with other settings and scores for each grid point."""

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
from fedbench_core.statistics.contributions import METRICS, contributions
from fedbench_core.suites.filed_records import records_folder
from fedbench_core.suites.suite import GridPoint, read_suite

CORRECT = {
    "majority": (2, 2, 3),
    "local": (3, 4),
    "local, equal FLOPs": (4, 4, 5),
    "centralized": (28, 27, 27, 27),
    "fedavg": (16, 15),
    "fedavg-ft": (16, 17, 17),
}
"""How many of 30 test images each entry predicts correctly: a number for each seed, repeated."""
ENTRIES = [
    {"name": "majority", "method": "majority"},
    {"name": "local", "method": "local"},
    {"name": "local, equal FLOPs", "method": "local", "steps": 4},
    *({"name": name, "method": name} for name in ("centralized", "fedavg", "fedavg-ft")),
]
BASELINES = {
    "majority": "majority",
    "steps": "local",
    "flops": "local, equal FLOPs",
    "centralized": "centralized",
    "tuned": "fedavg-ft",
}


class SuiteFolder:
    """A folder with suites and records, as `leaderboards/`."""

    baselines = BASELINES
    entries = ENTRIES

    def __init__(self, folder: Path, template: dict[str, Any]) -> None:
        self.folder = folder
        self.template = template

    def suite(self, name: str = "small", **changes: Any) -> Path:
        """Write a suite and give its file; `changes` replace its keys, None removes one."""
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
        # JSON values are TOML values, except for tables.
        lines = [f"{key} = {_toml(value)}" for key, value in values.items() if value is not None]
        file.write_text("\n".join(lines))
        return file

    def fill(
        self, file: Path, correct: Callable[[GridPoint], int | None] | None = None, change: Any = None
    ) -> list[Path]:
        """Write a record for each grid point and give the files.

        correct: gives the number of correct images of a grid point, None for no record. change: alters the record.
        """
        made = []
        for grid_point in read_suite(file).grid_points():
            count = (correct or _default)(grid_point)
            if count is not None:
                record = self.record(grid_point, count)
                if change is not None:
                    change(record, grid_point)
                made.append(_write(record, grid_point, records_folder(file)))
        return made

    def record(self, grid_point: GridPoint, correct: int) -> dict[str, Any]:
        """A record of the grid point in which all clients predict the first `correct` images correctly."""
        record = copy.deepcopy(self.template)
        settings = {**grid_point.settings, "set": {}}
        record["spec"] |= {
            **settings,
            "dataset": grid_point.dataset,
            "seed": grid_point.seed,
            "backbones": list(settings["backbones"]),
        }
        method = grid_point.settings["method"]
        sends = method not in ("majority", "local", "centralized")
        record["population"]["trained"] = 1 if method == "centralized" else record["population"]["clients"]
        record["costs"] |= {"bytes_up": 6_000_000 * sends, "bytes_down": 3_000_000 * sends}
        record["costs"]["training_gflops"] = 2.0 if grid_point.settings.get("steps") == 4 else 1.0
        if method == "majority":
            record["costs"]["training_gflops"] = 0.0
        if method == "fedavg-ft":
            record["costs"]["training_gflops"] = 2.1
            record["test"]["roles"] = {"global": {}}
        record["how"]["seconds"] = 3.0 + grid_point.seed
        set_correct(record, correct, personal=method not in ("centralized", "fedavg"))
        return record


def _default(grid_point: GridPoint) -> int:
    counts = CORRECT[grid_point.entry]
    return counts[grid_point.seed % len(counts)]


def _write(record: dict[str, Any], grid_point: GridPoint, folder: Path) -> Path:
    """`file_record` without fsync, which would take longer than everything else here."""
    path = folder / f"{grid_point.name}.json"
    folder.mkdir(parents=True, exist_ok=True)
    contents = {name: value for name, value in record.items() if name != "digest"}
    path.write_text(_text(sealed({**contents, "grid_point": grid_point.block})), encoding="utf-8")
    return path


def set_correct(record: dict[str, Any], correct: int, *, personal: bool = False) -> None:
    """Alter predictions and scores so that the first `correct` images are correct, with one or `personal` models."""
    images, clients = record["data"]["images"]["test"], record["population"]["clients"]
    bits = text_of_bits(np.packbits(np.arange(images) < correct))
    test = record["test"]
    test["correct"] = [bits] * (clients if personal else 1)
    test["matrix"]["predictor_of_client"] = list(range(clients)) if personal else [0] * clients
    test["matrix"]["label"] = [_row(record, correct)] * (clients if personal else 1)
    groups, counts = test["groups"]["images"], json.dumps(record["population"]["counts"])
    shape = (images, clients, test["groups"]["kinds"])
    part = correct / images
    test["metrics"] |= {**_means(correct, groups, counts, shape), "auc": 0.5 + 0.3 * part, "worst_client": 0.8 * part}
    test["metrics"]["ece"] = 0.3 - 0.1 * part
    for number, point in enumerate(record["curve"]):
        point |= {"personalization": test["metrics"]["personalization"] / (len(record["curve"]) - number)}


def _row(record: dict[str, Any], correct: int) -> list[float]:
    """The scores on each client's label distribution of a model that predicts the first `correct` images correctly."""
    codes = codes_of_text(
        record["test"]["groups"]["images"], record["data"]["images"]["test"], record["test"]["groups"]["kinds"]
    )
    counts = np.array(record["population"]["counts"], float)
    sizes = np.bincount(codes, minlength=counts.shape[1])
    recalls = np.bincount(codes[:correct], minlength=counts.shape[1]) / np.maximum(sizes, 1)
    weights = counts * (sizes > 0)
    return list((weights @ recalls) / weights.sum(axis=1))


@cache
def _means(correct: int, groups: str, counts: str, shape: tuple[int, int, int]) -> dict[str, float]:
    """The scores that are means over images, for one model that predicts the first `correct` images correctly."""
    images, clients, kinds = shape
    found = np.arange(images)[None] < correct, codes_of_text(groups, images, kinds), np.array(json.loads(counts))
    scores = {metric: contributions(metric, *found, [0] * clients) for metric in METRICS}
    return {metric: float(score.sum()) for metric, score in scores.items()}


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(inner)}" for key, inner in value.items()) + "}"
    return "[" + ", ".join(map(_toml, value)) + "]" if isinstance(value, list) else json.dumps(value)


def run_template(out: Path) -> dict[str, Any]:
    """The record of a tiny run; needs the plugin `kit.py`."""
    settings = {"method": "fedavg", "backbones": "tiny", "dataset": "spots", "clients": 3, "rounds": 2, "steps": 2}
    return run(RunSpec.of(settings), How(out=out, executor="serial")).record
