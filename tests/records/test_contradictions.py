"""Records that were edited and sealed again are refused with the name of the value."""

import json
import shutil
from functools import reduce
from pathlib import Path

import numpy as np
import pytest

from fedbench_core import RunSpec, run
from fedbench_core.api import SERVER
from fedbench_core.federation.spec import digest_of
from fedbench_core.records import messages
from fedbench_core.records.decoded import Groups
from fedbench_core.records.recomputed import _f1_of_two
from fedbench_core.records.record import RecordError, _digest, _text, read_record, sealed
from fedbench_core.runner import How

SMALL = {"backbones": "tiny", "dataset": "spots", "clients": 3, "rounds": 2, "steps": 2, "batch_size": 8}
BOTH = {"set": {"partitioner.alpha": 0.3}}


@pytest.fixture(scope="module")
def finished(kit, tmp_path_factory):  # noqa: ARG001  # its parts must be installed
    """Run a method on small data; gives the file of its record."""
    out, done = tmp_path_factory.mktemp("runs"), {}

    def compute(method="fedavg-ft", **more) -> Path:
        settings = {**SMALL, "method": method, **BOTH, **more}
        key = json.dumps(settings)
        if key not in done:
            done[key] = run(RunSpec.of(settings), How(out=out, executor="serial")).folder / "record.json"
        return done[key]

    return compute


@pytest.fixture
def forge(finished, tmp_path):
    """Set a value of a record by its path, seal the record again, and give the file."""

    def put(path: str, value, *, digest: bool = False) -> Path:
        record = json.loads(finished().read_text())
        *folders, last = [int(name) if name.isdigit() else name for name in path.split(".")]
        reduce(lambda block, name: block[name], folders, record)[last] = value
        if digest:
            record["spec_digest"] = digest_of(record["spec"])
        file = tmp_path / "record.json"
        file.write_text(_text(sealed({name: own for name, own in record.items() if name != "digest"})))
        return file

    return put


RUNS = {
    "local": {"method": "local"},
    "centralized": {"method": "centralized"},
    "two models": {"method": "kit-pair"},
    "clients without a model": {"method": "local", "fraction": 0.34, "rounds": 1},
    "rounds without clients": {"dropout": 0.9, "rounds": 4},
    "clients of sites": {"partitioner": "sites", "set": {"dataset.sites": 3}},
    "several labels": {"set": {"dataset.labels": "multi-label"}},
    "curve on test": {"evaluate_on": "test"},
    "no curve": {"evaluate_every": 0},
    "many clients": {"clients": 20, "steps": 1, "batch_size": 2, "partitioner": "iid", "set": {}},
    "two backbones": {"method": "local", "backbones": "tiny,wide"},
}


@pytest.mark.parametrize("kind", RUNS)
def test_record_of_every_kind_of_run_is_accepted(kind, finished) -> None:
    assert read_record(finished(**RUNS[kind]))["format"]


BEYOND = {
    "spec": {},
    "spec_digest": "0" * 64,
    "versions": {"torch": "1"},
    "population.clients": 10**12,
    "population.trained": 10**12,
    "population.images.test": [30, 0, 0, 0],
    "population.counts.0.0": -1,
    "population.counts.0": [30, 0, 0],
    "data.images.test": 10**12,
    "data.images.train": 3,
    "data.classes": [],
    "population.sites": ["a"],
    "test.round": 0,
    "test.correct.0": "////",
    "test.correct": [],
    "test.groups.kinds": 10**12,
    "test.groups.images": "AAAAAAAAAAA=",
    "test.matrix.predictor_of_client": [0, 0, 0],
    "test.matrix.label.1.2": 0.123,
    "test.matrix.local": [],
    "test.metrics.personalization": 0.99,
    "test.metrics.generalization": 0.99,
    "test.metrics.worst_client": 0.99,
    "test.metrics.global_accuracy": 0.99,
    "test.metrics.balanced_accuracy": None,
    "test.metrics.rarest_recall": 0.99,
    "test.metrics.auc": 0.123,
    "test.auc_images": "A" * 12,
    "costs.bytes_down_after": 10**12,
    "test.metrics.ece": -0.1,
    "test.metrics.brier": 10**400,
    "test.metrics.f1": 0.99,
    "test.metrics.worst_decile": 0.99,
    "test.metrics.unseen": 0.99,
    "test.metrics.mae": 0.0,
    "test.metrics.own": "high",
    "test.metrics.n": 10**6,
    "test.undefined": {"personalization": 1},
    "test.rarest_class": "kind 9",
    "test.roles.global.metrics.personalization": 0.99,
    "curve.0.split": "test",
    "curve.0.personalization": 7.0,
    "curve": [],
    "selected.validation": 0.999,
    "selected.round": 7,
    "selected": None,
    "costs.bytes_up": -1,
    "costs.bytes_down": 1.5,
    "costs.bytes_peer": 10**400,
    "costs.bytes_dense": 0,
    "costs.bytes_whole_models": 1,
    "costs.training_gflops": -1.0,
    "costs.backbones": {},
    "how.seconds": -3.0,
    "how": [],
    "how.data_root": 5,
    "rounds_skipped": [5],
    "notes": [3],
    "method.paper": None,
    "grid_point": {"key": []},
}


@pytest.mark.parametrize("number", ["1e400", "-1E+999", f"{'9' * 400}.0"])
def test_number_that_is_read_as_infinite_is_refused_wherever_it_is(number, finished, tmp_path) -> None:
    text = finished().read_text().replace('"seconds":', f'"more":[0,{number}],"seconds":')
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith('"digest"')]
    lines.insert(1, f'"digest": "{_digest("".join(lines))}",\n')
    (tmp_path / "record.json").write_text("".join(lines))
    with pytest.raises(RecordError, match="above 1e308"):
        read_record(tmp_path / "record.json")


OTHERS = {
    "spec": "method",
    "versions": "fedbench-core",
    "test.groups.images": "test.matrix.label.0.0",
    "selected.round": "selected.validation",
}
"""Values that another one gives away."""


@pytest.mark.parametrize("path", BEYOND)
def test_value_that_is_out_of_range_or_contradicts_the_rest_is_refused_by_name(path, forge) -> None:
    with pytest.raises(RecordError) as refused:
        read_record(forge(path, BEYOND[path]))
    last = [name for name in path.split(".") if not name.isdigit()][-1]
    assert OTHERS.get(path, last) in refused.value.reason
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize("score", ["balanced_accuracy", "f1", "rarest_recall"])
def test_score_of_clients_with_own_test_images_follows_from_predictions(score, finished, tmp_path) -> None:
    record = json.loads(finished(**RUNS["clients of sites"]).read_text())
    record["test"]["metrics"][score] = 0.99
    (tmp_path / "record.json").write_text(_text(sealed({k: v for k, v in record.items() if k != "digest"})))
    with pytest.raises(RecordError, match=rf"metrics\.{score} is 0\.99"):
        read_record(tmp_path / "record.json")


def test_digest_of_another_record_can_not_be_claimed_beside_the_own_one(finished, tmp_path) -> None:
    contents = {k: v for k, v in json.loads(finished().read_text()).items() if k != "digest"}
    text = _text({**contents, "digest": "a" * 64})  # what a verification would name
    (tmp_path / "record.json").write_text(text.replace("{", f'{{\n"digest": "{_digest(text)}",', 1))
    with pytest.raises(RecordError, match="digest"):
        read_record(tmp_path / "record.json")


def test_spec_that_was_edited_contradicts_its_digest(forge, finished) -> None:
    spec = {**json.loads(finished().read_text())["spec"], "optimizer": "sgd"}
    with pytest.raises(RecordError, match="spec_digest"):
        read_record(forge("spec", spec))
    assert digest_of(spec) != digest_of({**spec, "optimizer": "adam"})


@pytest.mark.parametrize(
    "setting", [{"rounds": 10**12}, {"rounds": 10**400}, {"lr": -1.0}, {"clients": 0}, {"colour": 1}, {"lr": 10**400}]
)
def test_spec_that_no_run_has_is_refused_by_name(setting, forge, finished) -> None:
    [name] = setting
    spec = {**json.loads(finished().read_text())["spec"], **setting}
    with pytest.raises(RecordError, match=f"{name}|curve"):
        read_record(forge("spec", spec, digest=True))


@pytest.mark.parametrize(
    "text",
    ['{"a":' * 100_000, "[" * 10_000_000, '{"format": 1e999}', '{"format": NaN}', '{"format": "\\ud800"}', "\udcff"],
    ids=["deep objects", "deep lists", "infinity", "NaN", "lone surrogate", "not UTF-8"],
)
def test_text_that_is_no_json_is_refused_by_the_files_name(text, tmp_path) -> None:
    file = tmp_path / "record.json"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(RecordError) as refused:
        read_record(file)
    assert refused.value.path == file
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize("total", ["bytes_up", "bytes_down", "bytes_dense"])
def test_bytes_that_the_messages_of_the_run_do_not_add_up_to_are_refused(total, finished, forge) -> None:
    record = json.loads(finished().read_text())
    file = forge(f"costs.{total}", record["costs"][total] + 1)
    assert read_record(file)["format"]
    shutil.copy(finished().with_name("messages.csv"), file.parent)
    with pytest.raises(RecordError, match=rf"messages\.csv .*{total} {record['costs'][total]}"):
        read_record(file)


def test_server_has_the_number_that_messages_give_it() -> None:
    assert str(SERVER) == messages.SERVER


def test_f1_of_two_classes_follows_from_correctness() -> None:
    # 4 of 5 images of the first class and 1 of 3 of the second are right: 3 of 8 predictions are wrong.
    groups = Groups(np.array([0] * 5 + [1] * 3), np.array([5.0, 3.0]))
    assert _f1_of_two(np.array([[4.0, 1.0]]), groups) == pytest.approx((8 / 11 + 2 / 5) / 2)
    alone = Groups(np.array([0] * 5), np.array([5.0, 0.0]))
    assert _f1_of_two(np.array([[4.0, 0.0], [0.0, 0.0]]), alone).tolist() == pytest.approx([8 / 9, 0])
