"""Kept models: what is in the folder `models` of a run scores what its record says."""

import json
import shutil

import numpy as np
import pytest
import torch

from fedbench_core import RunSpec, load_model, run
from fedbench_core.api import RequestError, RunError
from fedbench_core.federation import keeper
from fedbench_core.federation.assembly import resolve
from fedbench_core.federation.bits import text_of_bits
from fedbench_core.inference import models
from fedbench_core.records.kept_models import read_index
from fedbench_core.registry import registry
from fedbench_core.runner import How, load, resume
from fedbench_core.testing.small import BACKBONE, OTHER_BACKBONE, small_spec

SMALL = {"backbones": "tiny", "dataset": "spots", "clients": 3, "rounds": 2, "steps": 2, "batch_size": 8}
SHIPPED = [
    name
    for name in registry().names("method")
    if registry().describe("method", name).distribution.startswith("fedbench-")
]


@pytest.fixture(scope="module")
def finish(kit, tmp_path_factory):  # noqa: ARG001  # its backbones and its dataset are installed
    """Run a spec whose models are kept; gives the finished run and its test images. Equal specs are run once."""
    known, cache = {}, tmp_path_factory.mktemp("cache")

    def start(spec=None, **settings):
        spec = spec or RunSpec.of({**SMALL, "method": "fedavg", **settings})
        key = spec.model_dump_json()
        if key not in known:
            how = How(out=tmp_path_factory.mktemp("runs"), cache=cache, executor="serial")
            known[key] = run(spec, how), load(resolve(spec), how).test
        return known[key]

    return start


@pytest.fixture
def finished(finish, tmp_path):
    """A finished run in a folder of its own."""
    folder = tmp_path / "run"
    shutil.copytree(finish()[0].folder, folder)
    return folder


def check_scores(finished, test, which="last"):
    """The kept models of a round predict what the record says: each image, and the AUC to the bit."""
    record, entries = finished.record, models(read_index(finished.folder), which)
    headline = record["test"]
    metrics = headline["metrics"] if which == "last" else record["selected"]["metrics"]
    aucs = []
    for entry in entries:
        summary = {headline["role"]: headline, **headline["roles"]}[entry.role]
        for client in entry.clients:
            model = load_model(finished.folder, client, entry.role, which)
            probabilities = model.predict(test)
            correct = text_of_bits(np.packbits(model.task.correct(probabilities, test.targets()).numpy()))
            if which == "last":
                assert correct == summary["correct"][summary["matrix"]["predictor_of_client"][client]]
            if entry.role == headline["role"]:
                aucs.append(model.task.scores(probabilities, test.targets())["auc"])
    assert float(np.mean(aucs)) == metrics["auc"]


@pytest.mark.parametrize("method", [name for name in SHIPPED if not name.startswith("fedskd")])
def test_kept_model_scores_what_the_record_says(method, finish) -> None:
    made = registry().method(method)
    options = {option.name for option in registry().options("local_update", made.local_update)}
    settings = {"backbones": "tiny,wide"} if made.mixed_backbones else {}
    small = {"student": "tiny", "meme": "tiny", "small": "tiny", "size": 3}
    settings |= {"set": {f"local_update.{name}": value for name, value in small.items() if name in options}}
    settings |= {"public": "0.2"} if made.uses_public else {}
    check_scores(*finish(method=method, **settings))


def test_kept_models_of_timm_score_what_the_record_says(finish) -> None:
    check_scores(*finish(small_spec("fedskd", {}, backbones=(BACKBONE, OTHER_BACKBONE), rounds=1, clients=2)))


def test_kept_model_normalizes_as_in_its_run(finish) -> None:
    finished, test = finish(normalization="dataset", rounds=1)
    assert load_model(finished.folder).net.normalization is not None
    check_scores(finished, test)


def test_kept_models_of_the_selected_round_score_what_the_record_says(finish) -> None:
    finished, test = finish(method="local", rounds=4, lr=0.5, optimizer="sgd", schedule="constant")
    assert finished.record["selected"]["round"] < 3
    check_scores(finished, test, "selected")


def test_common_model_is_stored_once(finish) -> None:
    finished, _ = finish(rounds=1)
    [stored] = (finished.folder / "models").glob("*.safetensors")
    [entry] = models(read_index(finished.folder))
    assert entry.file == stored.name
    assert entry.clients == [0, 1, 2]


def test_model_takes_pixels_and_gives_probabilities(finish) -> None:
    finished, test = finish()
    model = load_model(finished.folder)
    pixels = torch.from_numpy(test.images[:4]).permute(0, 3, 1, 2)
    assert pixels.dtype == torch.uint8
    assert torch.equal(model(pixels), model.predict(test.pick(np.arange(4))))
    assert model.task.classes == ("kind 0", "kind 1", "kind 2")


@pytest.mark.parametrize("images", [torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.zeros(2, 3, 8, 8)])
def test_model_refuses_images_of_another_kind(images, finish) -> None:
    with pytest.raises(RequestError, match=r"3, 8, 8"):
        load_model(finish()[0].folder)(images)


@pytest.mark.parametrize("wanted", [{"client": 7}, {"role": "tuned"}, {"which": "best"}])
def test_model_that_was_not_kept_is_refused(wanted, finish) -> None:
    with pytest.raises(RequestError):
        load_model(finish()[0].folder, **wanted)


def test_client_without_a_model_is_refused(finish) -> None:
    finished, _ = finish(method="kit-ring", clients=6, fraction=0.3, rounds=1)
    present = {client for entry in models(read_index(finished.folder)) for client in entry.clients}
    absent = min(set(range(6)) - present)
    with pytest.raises(RequestError, match=f"client {absent}"):
        load_model(finished.folder, absent)


def test_damaged_model_is_refused(finished) -> None:
    [path, *_] = (finished / "models").glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RunError, match=path.name):
        load_model(finished)


@pytest.mark.parametrize("values", [(b'"clients": [\n', b'"clients": [1,\n'), (b'"spots"', b'"sport"')])
def test_index_of_models_that_was_altered_is_refused(values, finished) -> None:
    index = finished / "models" / "index.json"
    index.write_bytes(index.read_bytes().replace(*values))
    with pytest.raises(RunError, match=r"index\.json"):
        load_model(finished)


def test_index_of_models_is_sorted_so_that_a_resumed_run_writes_the_same(finished) -> None:
    text = (finished / "models" / "index.json").read_text()
    assert text == f"{json.dumps(json.loads(text), indent=1, sort_keys=True)}\n"


@pytest.mark.parametrize("block", ["rounds", "parts"])
def test_index_of_models_that_lacks_a_block_is_refused(block, finished) -> None:
    index = finished / "models" / "index.json"
    contents = {name: value for name, value in json.loads(index.read_text()).items() if name != "digest"}
    index.write_text(json.dumps({**contents, block: {}}))
    with pytest.raises(RunError, match=r"index\.json"):
        load_model(finished)


def test_run_without_models_is_refused(finished) -> None:
    shutil.rmtree(finished / "models")
    with pytest.raises(RequestError, match="--keep models"):
        load_model(finished)


@pytest.mark.parametrize(("keep", "kept"), [("auto", False), ("models", True), ("none", False)])
def test_models_that_are_large_are_kept_on_request(keep, kept, spec_of, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(keeper, "SMALL_BYTES", 1000)
    folder = run(spec_of("local"), How(out=tmp_path, executor="serial", keep=keep)).folder
    assert bool(list(folder.glob("models/*.safetensors"))) == kept
    assert (folder / "models").exists() == (keep != "none")
    if not kept:
        with pytest.raises(RequestError, match="--keep models"):
            load_model(folder, 0)
    assert {path.name for path in folder.iterdir()} - {"models"} == {"clients.csv", "messages.csv", "record.json"}


@pytest.fixture(scope="module")
def spec_of(kit):  # noqa: ARG001  # as above
    """A small spec of a method."""
    return lambda method: RunSpec.of({**SMALL, "method": method})


class _StopError(Exception):
    """Ends a run."""


def test_resumed_run_keeps_models_as_it_was_started(finish, spec_of, tmp_path) -> None:
    def stop(event):
        if event.done == 1:
            raise _StopError

    with pytest.raises(_StopError):
        run(spec_of("local"), How(out=tmp_path, executor="serial", keep="models"), stop)
    [folder] = tmp_path.iterdir()
    resumed = resume(folder, How(executor="serial")).folder
    whole = finish(method="local")[0].folder
    assert _contents(resumed) == _contents(whole)


def _contents(folder):
    return {path.name: path.read_bytes() for path in (folder / "models").iterdir()}


def test_files_of_a_user_are_left_alone(spec_of, finish, tmp_path) -> None:
    mine = tmp_path / finish()[0].folder.name / "models" / "index.json"
    mine.parent.mkdir(parents=True)
    mine.write_text(json.dumps({"mine": True}))
    with pytest.raises(RequestError, match="models"):
        run(spec_of("fedavg"), How(out=tmp_path, executor="serial"))
    assert mine.read_text() == json.dumps({"mine": True})
