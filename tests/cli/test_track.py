"""`fedbench track` and `--track`: what trackers get, during a run and afterwards, and what they can't do to a run."""

import csv
import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from fedbench_core import RunSpec, run
from fedbench_core.cli import fedbench
from fedbench_core.records.record import comparable, read_record
from fedbench_core.registry import registry
from fedbench_core.runner import How
from fedbench_core.tracking import Tracking

SETTINGS = {
    "method": "fedavg",
    "backbones": "tiny",
    "dataset": "spots",
    "clients": 3,
    "rounds": 3,
    "steps": 2,
    "set": {"partitioner.alpha": 0.5},
}
FLAGS = "fedavg --backbones tiny --dataset spots --clients 3 --rounds 3 --steps 2 --set partitioner.alpha=0.5".split()  # noqa: SIM905  # as typed


def go(*arguments):
    return CliRunner().invoke(fedbench, [str(argument) for argument in arguments], prog_name="fedbench")


@pytest.fixture(scope="module")
def tracked(kit, tmp_path_factory):  # noqa: ARG001  # installed
    """The folder of a run that was tracked while it was computed, and the output of the command."""
    out = tmp_path_factory.mktemp("runs")
    result = go("run", *FLAGS, "--executor", "serial", "--out", out, "--track", "kit-failing,kit-lines", "--json")
    assert result.exit_code == 0, result.stderr
    [folder] = [path.parent for path in out.glob("*/record.json")]
    return folder, result


def lines(folder, tracker="kit-lines"):
    text = (folder.parent / tracker / f"{folder.name}.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_tracker_gets_what_the_run_recorded(tracked) -> None:
    folder, _ = tracked
    record = read_record(folder)
    first, *rounds, last = lines(folder)
    assert (first["settings"]["lr"], first["settings"]["partitioner.alpha"]) == (record["spec"]["lr"], 0.5)
    assert (first["settings"]["backbones"], [one.pop("rounds") for one in rounds]) == ("tiny", [1, 2, 3])
    with (folder / "clients.csv").open() as file:
        rows = list(csv.DictReader(file))
    for number, scalars in enumerate(rounds):
        own = [row for row in rows if int(row["round"]) == number]
        loss = np.average([float(row["loss"]) for row in own], weights=[int(row["num_examples"]) for row in own])
        assert scalars["train/loss"] == pytest.approx(loss)
        assert scalars["bytes/up"] == sum(int(row["bytes_up"]) for row in own) > 0
        assert scalars["val/personalization"] == record["curve"][number]["personalization"]
    assert last["summary"]["auc"] == record["test"]["metrics"]["auc"]
    assert last["summary"]["bytes_up"] == record["costs"]["bytes_up"]


def test_export_afterwards_gives_the_same_and_nothing_twice(tracked, tmp_path) -> None:
    folder, _ = tracked
    copy = shutil.copytree(folder, tmp_path / folder.name)
    assert go("track", tmp_path, "--to", "kit-lines").exit_code == 0
    assert lines(copy) == lines(folder)
    assert go("track", copy, "--to", "kit-lines").exit_code == 0
    assert lines(copy)[:-1] == lines(folder)


def test_tracker_that_raises_is_dropped_with_one_warning(tracked, tmp_path) -> None:
    folder, result = tracked
    record = json.loads(result.stdout)
    assert [line for line in result.stderr.splitlines() if "kit-failing" in line] == [
        "The tracker kit-failing failed, and gets nothing more of this run: OSError: no route to the server"
    ]
    assert [one.get("rounds") for one in lines(folder, "kit-failing")] == [None, 1]
    alone = run(RunSpec.of(SETTINGS), How(out=tmp_path, executor="serial")).record
    assert comparable(record | {"folder": None}) == comparable(alone | {"folder": None})
    again = go("track", folder, "--to", "kit-failing")
    assert (again.exit_code, "no route to the server" in again.stderr) == (1, True)


@pytest.mark.parametrize("every", [1, 2])
def test_resumed_run_logs_no_round_twice(kit, tmp_path, every) -> None:  # noqa: ARG001  # installed
    def interrupt(event) -> None:
        tracking.watch(event)
        if event.done == 3:
            raise KeyboardInterrupt

    spec = RunSpec.of({**SETTINGS, "rounds": 4})
    trackers = {"kit-lines": registry().make("tracker", "kit-lines")}
    with pytest.raises(KeyboardInterrupt), Tracking(trackers, pytest.fail) as tracking:
        run(spec, How(out=tmp_path, executor="serial", checkpoint_every=every), interrupt)
    [folder] = [path.parent for path in tmp_path.glob("*/state")]
    assert [one["rounds"] for one in lines(folder) if "rounds" in one] == [1, 2]
    assert go("track", folder, "--to", "kit-lines").exit_code == 0
    result = go("resume", folder, "--executor", "serial", "--track", "kit-lines")
    assert result.exit_code == 0, result.stderr
    assert [one["rounds"] for one in lines(folder) if "rounds" in one] == [1, 2, 3, 4]
    assert len({one["id"] for one in lines(folder) if "id" in one}) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", *FLAGS, "--track", "kit-lins"], ["'kit-lins'", "kit-lines"]),
        (["run", *FLAGS, "--track", "nothing"], ["'nothing'", "tensorboard", "mlflow", "wandb"]),
        (["run", *FLAGS, "--track", "mlflow"], ["pip install 'fedbench-core[mlflow]'"]),
        (["track", "nowhere", "--to", "kit-lines"], ["nowhere"]),
        (["track", ".", "--to", "kit-lines"], ["."]),
    ],
)
def test_wrong_request_is_refused_before_anything_is_written(kit, tmp_path, monkeypatch, arguments, words) -> None:  # noqa: ARG001  # installed
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fedbench_core.parts.trackers.find_spec", lambda _name: None)
    result = go(*arguments)
    assert (result.exit_code, list(tmp_path.iterdir())) == (2, [])
    assert all(word in result.stderr for word in words), result.stderr
