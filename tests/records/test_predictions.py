"""Predictions in a record: what follows from them, what contradicts them, and records without them."""

import json

import numpy as np
import pytest

from fedbench_core import RunSpec, run
from fedbench_core.api.errors import RequestError
from fedbench_core.federation.bits import text_of_codes
from fedbench_core.records.decoded import ReadError
from fedbench_core.records.predictions import class_scores, confusion
from fedbench_core.records.recomputed import scores_of
from fedbench_core.records.record import comparable_pair, read_record, sealed, write_record
from fedbench_core.runner import How

SMALL = {"backbones": "tiny", "dataset": "spots", "clients": 3, "rounds": 1, "steps": 4, "batch_size": 8}
SITES = {"partitioner": "sites", "set": {"dataset.sites": 3}}
MANY = {"set": {"dataset.labels": "multi-label"}}


@pytest.fixture(scope="module")
def folder(kit, tmp_path_factory):  # noqa: ARG001  # its parts must be installed
    """Run a method on small data; returns its folder."""
    out = tmp_path_factory.mktemp("runs")
    how = How(out=out, executor="serial", keep="none")
    return lambda method="local", **settings: run(RunSpec.of({**SMALL, "method": method, **settings}), how).folder


def _codes(values, kinds=3):
    return text_of_codes(np.array(values), kinds)


GOLDEN = {
    "data": {"task": "multi-class", "classes": ["a", "b", "c"], "images": {"test": 5}},
    "test": {
        "roles": {},
        "groups": {"of": "class", "kinds": 3, "images": _codes([0, 0, 1, 1, 1])},
        "matrix": {"predictor_of_client": [0, None, 1]},
        "predicted": [_codes([0, 1, 1, 1, 2]), _codes([0, 0, 0, 0, 0])],
    },
}


def test_confusion_and_class_scores_are_those_worked_by_hand() -> None:
    assert confusion(GOLDEN, 0).tolist() == [[1, 1, 0], [0, 2, 1], [0, 0, 0]]
    assert confusion(GOLDEN).tolist() == [[1.5, 0.5, 0], [1.5, 1, 0.5], [0, 0, 0]]
    first, second = class_scores(GOLDEN)  # no test image is of class c
    assert (first.images, first.recall, first.worst) == (2, 0.75, 0.5)
    assert first.precision == pytest.approx((1 + 2 / 5) / 2)
    assert first.f1 == pytest.approx((2 / 3 + 4 / 7) / 2)
    assert (second.recall, second.worst, second.precision) == (pytest.approx(1 / 3), 0.0, pytest.approx(2 / 3))
    assert second.f1 == pytest.approx((2 / 3 + 0) / 2)
    with pytest.raises(RequestError, match="0, 2"):
        confusion(GOLDEN, 1)


@pytest.mark.parametrize("settings", [{"method": "fedavg-ft"}, SITES], ids=["classes", "sites"])
def test_class_scores_average_to_the_recorded_scores(folder, settings) -> None:
    record = read_record(folder(**settings))
    found, metrics = class_scores(record), record["test"]["metrics"]
    assert np.mean([one.recall for one in found]) == pytest.approx(metrics["balanced_accuracy"])
    assert np.mean([one.f1 for one in found]) == pytest.approx(metrics["f1"])
    assert np.trace(confusion(record)) / confusion(record).sum() == pytest.approx(metrics["global_accuracy"])


def test_record_of_an_earlier_version_has_recalls_and_agrees_with_one_of_this_version(folder, tmp_path) -> None:
    record = json.loads((folder("fedavg-ft") / "record.json").read_text())
    test = {name: value for name, value in record["test"].items() if name != "predicted"}
    roles = {role: {k: v for k, v in own.items() if k != "predicted"} for role, own in test["roles"].items()}
    earlier = sealed({**{k: v for k, v in record.items() if k != "digest"}, "test": {**test, "roles": roles}})
    write_record(tmp_path / "earlier.json", earlier)
    old = read_record(tmp_path / "earlier.json")
    assert [one.recall for one in class_scores(old)] == pytest.approx([one.recall for one in class_scores(record)])
    assert {one.precision for one in class_scores(old)} == {None}
    assert np.equal(*comparable_pair(old, record))
    with pytest.raises(RequestError, match="--fresh"):
        confusion(old)


@pytest.mark.parametrize("settings", [{}, SITES, MANY], ids=["classes", "sites", "several labels"])
def test_predictions_that_contradict_correctness_are_found(folder, settings) -> None:
    record = json.loads((folder(**settings) / "record.json").read_text())
    test = record["test"]
    assert scores_of(record, test).fault == ""
    for wrong in ([*test["predicted"], "AA=="], ["AA==" for _ in test["predicted"]]):
        with pytest.raises(ReadError, match="predicted"):
            scores_of(record, {**test, "predicted": wrong})
    assert scores_of(record, {**test, "predicted": [*test["predicted"][1:], test["predicted"][0]]}).fault
    if settings is not MANY:
        assert confusion(record).sum() == pytest.approx(record["data"]["images"]["test"])
