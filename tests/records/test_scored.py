"""Scores of records that hold every round of a period."""

import json

import numpy as np
import pytest

from fedbench_core import RunSpec, run
from fedbench_core.leaderboard.columns import metric, personalization_by_client
from fedbench_core.records.correctness import image_scores
from fedbench_core.records.predictions import class_scores, confusion
from fedbench_core.records.record import RecordError, _text, read_record, sealed
from fedbench_core.records.scored import Scored, rounds_text, scored
from fedbench_core.records.scores import score_table
from fedbench_core.runner import How

RING = {"method": "kit-ring", "backbones": "tiny,wide", "dataset": "spots", "clients": 3, "rounds": 5, "steps": 2}
MANY = {"set": {"dataset.labels": "multi-label"}}


@pytest.fixture(scope="module")
def file(kit, tmp_path_factory):  # noqa: ARG001  # its parts must be installed
    """Run a ring on small data; returns the file of its record."""
    how = How(out=tmp_path_factory.mktemp("runs"), executor="serial", keep="none")
    return lambda **settings: run(RunSpec.of({**RING, **settings}), how).folder / "record.json"


def _evaluation(rows, label) -> dict:
    """A round in which the clients have the models `rows`, with this matrix."""
    matrix = {"primary": "label", "predictor_of_client": rows, "label": label, "local": label}
    return {"metrics": {"personalization": 0.5, "n": 4}, "undefined": {}, "matrix": matrix}


def test_matrix_of_a_period_is_the_mean_of_each_clients_models() -> None:
    first = _evaluation([0, 1, 0], [[0.2, 0.4, None], [0.6, 0.8, 1.0]])
    second = _evaluation([1, 0, 1], [[0.0, 0.4, 0.5], [0.4, None, None]])
    found = Scored([first, second])
    assert found.by_client == [
        [pytest.approx(0.3), 0.4, None],
        [pytest.approx(0.3), pytest.approx(0.6), 0.75],
        [pytest.approx(0.3), 0.4, None],
    ]
    assert found.predictors == ([(0, 1), (1, 0)], [0, 1, 0])
    assert Scored([first]).by_client == [[0.2, 0.4, None], [0.6, 0.8, 1.0], [0.2, 0.4, None]]


def test_client_without_a_model_in_one_round_has_no_predictor() -> None:
    found = Scored([_evaluation([None, 0], [[0.1, 0.2]]), _evaluation([0, 1], [[0.1, 0.2], [0.3, 0.4]])])
    assert found.predictors == ([(0, 1)], [None, 0])
    assert found.by_client[0] == [None, None]


@pytest.mark.parametrize("name", ["personalization", "generalization", "global_accuracy", "balanced_accuracy"])
def test_images_of_a_period_add_up_to_its_scores(name, file) -> None:
    record = read_record(file())
    assert image_scores(record, name).sum() == pytest.approx(metric(name).read(record), abs=1e-5)


def test_classes_and_clients_average_to_the_scores_of_a_period(file) -> None:
    record = read_record(file())
    metrics = scored(record).metrics
    assert np.mean([one.recall for one in class_scores(record)]) == pytest.approx(metrics["balanced_accuracy"])
    assert np.mean(personalization_by_client(record)) == pytest.approx(metrics["personalization"], abs=1e-5)
    assert confusion(record).sum() == pytest.approx(record["data"]["images"]["test"])
    assert rounds_text(record) == "mean after rounds 3 to 5"
    headings, _ = score_table(record)
    assert headings[1] == f"{record['test']['role']}, mean after rounds 3 to 5"


@pytest.mark.parametrize("settings", [MANY, {"fraction": 0.4}], ids=["several labels", "absent clients"])
def test_record_of_a_period_is_accepted(settings, file) -> None:
    assert len(scored(read_record(file(**settings))).evaluations) == 3


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *(("metrics.personalization", 0.99), ("round", 0), ("correct.0", "////")),
        *(("role", "other"), ("roles", {"other": {}})),
    ],
)
def test_altered_round_of_a_period_is_refused(path, value, file, tmp_path) -> None:
    record = json.loads(file().read_text())
    block = record["test"]["earlier"][1]
    *folders, last = [int(name) if name.isdigit() else name for name in path.split(".")]
    for name in folders:
        block = block[name]
    block[last] = value
    (tmp_path / "record.json").write_text(_text(sealed({k: own for k, own in record.items() if k != "digest"})))
    with pytest.raises(RecordError, match=path.split(".")[0]):
        read_record(tmp_path / "record.json")
