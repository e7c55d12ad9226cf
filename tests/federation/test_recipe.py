"""The recipe of local training, in runs: each setting matters, and none depends on how a run is computed."""

import hashlib
import json
from pathlib import Path

import pytest

from fedbench_core import RunSpec, run
from fedbench_core.api import RequestError, RunError, Training
from fedbench_core.federation import torch_settings
from fedbench_core.federation.spec import EARLIER
from fedbench_core.records.record import comparable, read_record, sealed, write_record
from fedbench_core.runner import How, resume

FULL = {
    "schedule": "cosine",
    "warmup": 1,
    "augmentation": "medical",
    "precision": "bf16",
    "clip": 0.5,
    "class_weights": "balanced",
    "label_smoothing": 0.1,
    "normalization": "dataset",
}
SETTINGS = [
    *({"schedule": "cosine"}, {"schedule": "step"}, {"warmup": 2}, {"clip": 0.1}, {"label_smoothing": 0.1}),
    *({"augmentation": kind} for kind in ("flip", "flip-crop", "medical")),
    *({"precision": "bf16"}, {"class_weights": "balanced"}, {"normalization": "dataset"}),
]


def scientific(folder: Path) -> dict:
    return {"record": comparable(read_record(folder)), "rows": (folder / "clients.csv").read_text()}


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_setting_of_the_recipe_changes_the_run(settings, go) -> None:
    plain, changed = go("kit-pair"), go("kit-pair", **settings)
    assert changed.record["test"]["metrics"] != plain.record["test"]["metrics"]
    assert changed.record["costs"]["training_gflops"] == plain.record["costs"]["training_gflops"]


def test_multi_label_classes_are_balanced(go) -> None:
    many = {"dataset.labels": "multi-label"}
    assert go(class_weights="balanced", **many).record["test"] != go(**many).record["test"]


def test_recipe_is_that_of_the_spec_and_has_a_setting_for_each_field(spec) -> None:
    training = spec(**FULL).training
    assert {name: getattr(training, name) for name in FULL if name != "normalization"} == {
        name: value for name, value in FULL.items() if name != "normalization"
    }
    assert spec().training == Training(steps=2, batch_size=8)


@pytest.mark.parametrize("how", [{"workers": 1}, {"workers": 2}, {"workers": 3, "checkpoint_every": 3}], ids=str)
def test_full_recipe_gives_the_same_bits_on_every_executor(how, go, spec, tmp_path) -> None:
    finished = run(spec("kit-ring", backbones="tiny,wide", clients=4, **FULL), How(out=tmp_path, **how))
    alone = go("kit-ring", backbones="tiny,wide", clients=4, **FULL)
    assert scientific(finished.folder) == scientific(alone.folder)


class StopError(Exception):
    """Ends a run early."""


def test_resumed_run_has_the_rates_of_its_rounds(go, spec, tmp_path) -> None:
    def stop(event) -> None:
        if event.done >= 2:
            raise StopError

    with pytest.raises(StopError):
        run(spec("kit-pair", rounds=4, **FULL), How(out=tmp_path, executor="serial"), stop)
    (folder,) = tmp_path.iterdir()
    finished = resume(folder, How(executor="serial"))
    assert scientific(finished.folder) == scientific(go("kit-pair", rounds=4, **FULL).folder)


@pytest.mark.parametrize(
    "settings",
    [
        {"schedule": "sometimes"},
        {"augmentation": "mixup"},
        {"warmup": 3},
        {"warmup": 9},
        {"clip": 0},
        {"label_smoothing": 1},
        {"precision": "fp16"},
        {"class_weights": "some"},
        {"normalization": "imagenet"},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(settings, spec) -> None:
    [(name, value)] = settings.items()
    with pytest.raises(RequestError, match=f"--{name.replace('_', '-')}.*{value}"):
        spec(**settings)


def test_normalization_follows_pretrained_unless_it_is_given() -> None:
    assert RunSpec(method="local").normalization == "half"
    assert RunSpec(method="local", pretrained=True).normalization == "backbone"
    assert RunSpec(method="local", pretrained=True, normalization="dataset").normalization == "dataset"


def test_processor_without_bf16_is_named_and_the_run_goes_on(spec, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(torch_settings, "_has_bf16", lambda _device: False)
    lines: list[str] = []
    how = How(out=tmp_path, executor="serial")
    assert run(spec(precision="bf16"), how, say=lines.append).record["spec"]["precision"] == "bf16"
    assert [line for line in lines if "bf16" in line]
    lines.clear()
    run(spec(), how, say=lines.append)
    assert not [line for line in lines if "bf16" in line]


def test_record_of_an_earlier_version_has_its_settings_completed(go, tmp_path) -> None:
    record = go(schedule="constant").record
    spec = {name: value for name, value in record["spec"].items() if name not in EARLIER}
    earlier = {**record, "spec": spec, "spec_digest": _digest(spec)}
    write_record(tmp_path / "record.json", sealed({k: v for k, v in earlier.items() if k != "digest"}))
    read = read_record(tmp_path)
    assert comparable(read) == comparable(record)
    wrong = sealed({**{k: v for k, v in earlier.items() if k != "digest"}, "spec_digest": "0" * 64})
    write_record(tmp_path / "record.json", wrong)
    with pytest.raises(RunError, match="spec_digest"):
        read_record(tmp_path)


def _digest(spec) -> str:
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()
