"""Suites with records for tests: the record of one tiny run, with other settings and scores for each grid point."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fedbench_core import RunSpec, run
from fedbench_core.federation.bits import bits_of_text, codes_of_text, text_of_bits, text_of_codes, text_of_floats
from fedbench_core.federation.spec import digest_of
from fedbench_core.records.recomputed import scores_of
from fedbench_core.records.record import _text, sealed
from fedbench_core.runner import How
from fedbench_core.suites.filed_records import records_folder
from fedbench_core.suites.files import read_suite
from fedbench_core.suites.grid import GridPoint
from fedbench_core.suites.resolved_specs import expected_spec

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

    correct = CORRECT
    baselines = BASELINES
    entries = ENTRIES

    def __init__(self, folder: Path, template: dict[str, Any]) -> None:
        self.folder = folder
        self.template = template
        self._text = json.dumps(template)

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
        self,
        file: Path,
        correct: Callable[[GridPoint], int | None] | None = None,
        change: Any = None,
        forge: Any = None,
    ) -> list[Path]:
        """Write a record for each grid point and give the files.

        correct: gives the number of correct images of a grid point, None for no record. change: alters the record,
        before what follows from it is computed again; forge: alters it afterwards.
        """
        made = []
        for grid_point in read_suite(file).grid_points():
            count = (correct or _default)(grid_point)
            if count is not None:
                record = self.record(grid_point, count)
                if change is not None:
                    change(record, grid_point)
                settle(record)
                if forge is not None:
                    forge(record, grid_point)
                made.append(_write(record, grid_point, records_folder(file)))
        return made

    def record(self, grid_point: GridPoint, correct: int) -> dict[str, Any]:
        """A record of the grid point in which all clients predict the first `correct` images correctly."""
        record = json.loads(self._text)  # several times as fast as a deep copy
        record["grid_point"] = grid_point.block
        record["spec"] = copy.deepcopy(expected_spec(grid_point)) or _spec(record["spec"], grid_point)
        backbones, clients = record["spec"]["backbones"], record["population"]["clients"]
        method = grid_point.settings["method"]
        sends = method not in ("majority", "local", "centralized")
        record["population"]["trained"] = 1 if method == "centralized" else clients
        used = [backbones[client % len(backbones)] for client in range(record["population"]["trained"])]
        record["population"]["backbones"] = used
        size = next(iter(record["costs"]["backbones"].values()))
        costs = {"bytes_up": 6_000_000 * sends, "bytes_down": 3_000_000 * sends, "bytes_dense": 9_000_000 * sends}
        costs["bytes_down_after"] = 0
        record["costs"] |= {**costs, "backbones": dict.fromkeys(used, size)}
        record["costs"]["training_gflops"] = 2.0 if grid_point.settings.get("steps") == 4 else 1.0
        if method == "majority":
            record["costs"]["training_gflops"] = 0.0
        record["how"]["seconds"] = 3.0 + grid_point.seed
        set_correct(record, correct, personal=method not in ("centralized", "fedavg"))
        record["test"]["metrics"]["brier"] = 0.5 + grid_point.seed / 1000  # no two seeds have the same results
        if method == "fedavg-ft":
            record["costs"]["training_gflops"] = 2.1
            self.add_role(record, "global")
        return record

    @staticmethod
    def add_role(record: dict[str, Any], role: str) -> None:
        """Add a role with the predictions of the headline."""
        names = ("metrics", "undefined", "rarest_class", "matrix", "correct", "predicted")
        record["test"]["roles"][role] = copy.deepcopy({name: record["test"][name] for name in names})


def _spec(template: dict[str, Any], grid_point: GridPoint) -> dict[str, Any]:
    """The spec of a grid point whose dataset is not installed."""
    settings = {**grid_point.settings, "set": {}}
    return {**template, **settings, "backbones": list(settings["backbones"])}


def _default(grid_point: GridPoint) -> int:
    counts = CORRECT[grid_point.entry]
    return counts[grid_point.seed % len(counts)]


def _write(record: dict[str, Any], grid_point: GridPoint, folder: Path) -> Path:
    """`file_record` without fsync, which would take longer than everything else here."""
    path = folder / f"{grid_point.name}.json"
    folder.mkdir(parents=True, exist_ok=True)
    contents = {name: value for name, value in record.items() if name != "digest"}
    path.write_text(_text(sealed(contents)), encoding="utf-8")
    return path


def set_correct(record: dict[str, Any], correct: int, *, personal: bool = False) -> None:
    """Alter predictions and scores so that the first `correct` images are correct, with one or `personal` models."""
    images, clients = record["data"]["images"]["test"], record["population"]["clients"]
    bits = text_of_bits(np.packbits(np.arange(images) < correct))
    test = record["test"]
    test["correct"] = [bits] * (clients if personal else 1)
    test["matrix"]["predictor_of_client"] = list(range(clients)) if personal else [0] * clients
    part = correct / images
    test["metrics"] |= {"auc": 0.5 + 0.3 * part, "ece": 0.3 - 0.1 * part}
    test["auc_images"] = text_of_floats(np.full(images, test["metrics"]["auc"] / images))
    for number, point in enumerate(record["curve"]):
        point["personalization"] = part / (len(record["curve"]) - number)


def settle(record: dict[str, Any]) -> None:
    """Compute what follows from the spec, the predictions and the curve again."""
    record["spec_digest"] = digest_of(record["spec"])
    for summary in (record["test"], *record["test"]["roles"].values()):
        _settle_scores(record, summary)
    on_val = [point for point in record["curve"] if point["split"] == "val" and point["personalization"] is not None]
    best = max(on_val, key=lambda point: point["personalization"], default=None)
    if best is None:
        record["selected"] = None
    else:
        last = best["round"] == record["test"]["round"]
        metrics = record["test"]["metrics"] if last else record["selected"]["metrics"]
        record["selected"] = {"round": best["round"], "validation": best["personalization"], "metrics": metrics}


def _settle_predictions(record: dict[str, Any], summary: dict[str, Any]) -> None:
    """Predictions that agree with correctness: the class of an image, or the next one."""
    groups, images = record["test"]["groups"], record["data"]["images"]["test"]
    if groups["of"] == "client":
        summary.pop("predicted", None)
        return
    truth = codes_of_text(groups["images"], images, groups["kinds"])
    right = [bits_of_text(text, images) for text in summary["correct"]]
    guesses = [np.where(own, truth, (truth + 1) % groups["kinds"]) for own in right]
    summary["predicted"] = [text_of_codes(own, groups["kinds"]) for own in guesses]


def _settle_scores(record: dict[str, Any], summary: dict[str, Any]) -> None:
    _settle_predictions(record, summary)
    clients = record["population"]["clients"]
    for name in ("label", "local"):
        summary["matrix"][name] = [[None] * clients for _ in summary["correct"]]
    expected = scores_of(record, summary)
    matrix = [[None if np.isnan(value) else value for value in row] for row in expected.matrix.tolist()]
    summary["matrix"] |= {"primary": expected.primary, expected.primary: matrix}
    summary["metrics"] |= expected.metrics
    found = {name: count for name, count in expected.undefined.items() if count}
    summary["undefined"] = {**summary["undefined"], **found}
    summary["rarest_class"] = expected.rarest_class


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(inner)}" for key, inner in value.items()) + "}"
    return "[" + ", ".join(map(_toml, value)) + "]" if isinstance(value, list) else json.dumps(value)


def run_template(out: Path) -> dict[str, Any]:
    """The record of a tiny run; needs the plugin `kit.py`."""
    settings = {"method": "fedavg", "backbones": "tiny", "dataset": "spots", "clients": 3, "rounds": 2, "steps": 2}
    return run(RunSpec.of(settings), How(out=out, executor="serial")).record
