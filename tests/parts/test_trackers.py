"""TensorBoard, MLflow and W&B: what their own libraries read back of a run."""

import subprocess
import sys

import pytest

from fedbench_core import RunSpec, run
from fedbench_core.records.record import read_record
from fedbench_core.registry import registry
from fedbench_core.runner import How
from fedbench_core.testing import TrackerContract
from fedbench_core.tracking import Tracking


class TestTensorBoard(TrackerContract):
    name = "tensorboard"


@pytest.mark.slow
class TestMLflow(TrackerContract):
    name = "mlflow"


@pytest.mark.slow
class TestWandB(TrackerContract):
    name = "wandb"


@pytest.fixture(scope="module")
def folder(kit, tmp_path_factory):  # noqa: ARG001  # installed
    """The folder of a tiny run."""
    settings = {"method": "fedavg", "backbones": "tiny", "dataset": "spots", "clients": 3, "rounds": 2, "steps": 2}
    return run(RunSpec.of(settings), How(out=tmp_path_factory.mktemp("runs"), executor="serial")).folder


def track(name, folder) -> None:
    tracker = registry().make("tracker", name)
    with Tracking({name: tracker}, pytest.fail) as tracking:
        tracking.update(folder)


def curve(folder) -> list[float]:
    return [point["personalization"] for point in read_record(folder)["curve"]]


def test_tensorboard_reads_curves_and_settings(folder) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: PLC0415  # an extra

    track("tensorboard", folder)
    events = EventAccumulator(str(folder.parent / "tensorboard" / folder.name))
    events.Reload()
    found = events.Scalars("val/personalization")
    assert [event.step for event in found] == [1, 2]
    assert [event.value for event in found] == pytest.approx(curve(folder))
    [final] = events.Scalars("final/auc")
    assert final.value == pytest.approx(read_record(folder)["test"]["metrics"]["auc"])
    assert "_hparams_/session_start_info" in events.PluginTagToContent("hparams")


@pytest.mark.slow
def test_mlflow_reads_curves_and_settings(folder) -> None:
    mlflow = pytest.importorskip("mlflow")
    track("mlflow", folder)
    client = mlflow.MlflowClient((folder.parent / "mlflow").as_uri())
    [own] = client.search_runs([client.get_experiment_by_name("fedbench").experiment_id])
    assert (own.info.run_name, own.info.status, own.data.params["method"]) == (folder.name, "FINISHED", "fedavg")
    assert own.data.metrics["final/auc"] == read_record(folder)["test"]["metrics"]["auc"]
    found = client.get_metric_history(own.info.run_id, "val/personalization")
    assert [(point.step, point.value) for point in found] == list(enumerate(curve(folder), start=1))


@pytest.mark.slow
def test_wandb_reads_curves_and_settings(kit, folder) -> None:
    pytest.importorskip("wandb")
    command = f"from fedbench_core.cli import main; import sys; sys.path.insert(0, {str(kit)!r}); main()"
    sent = [sys.executable, "-c", command, "track", str(folder), "--to", "wandb"]
    subprocess.run(sent, check=True)  # W&B writes the end of its file when the process ends
    [file] = (folder.parent / "wandb" / "wandb").glob("offline-run-*/*.wandb")
    found = list(wandb_records(file.read_bytes()))
    [config] = [{one.key: one.value_json for one in record.run.config.update} for record in found if record.run.run_id]
    assert config["method"] == '"fedavg"'
    rows = [{one.key or one.nested_key[0]: one.value_json for one in record.history.item} for record in found]
    rows = [row for row in rows if row]
    assert [row["_step"] for row in rows] == ["1", "2"]
    assert [float(row["val/personalization"]) for row in rows] == curve(folder)
    summary = [one.key or one.nested_key[0] for record in found for one in record.summary.update]
    assert "final/auc" in summary


def wandb_records(text):
    """The records of a file of W&B that is shorter than a block of its log format (32 kB)."""
    from wandb.proto.wandb_internal_pb2 import Record  # noqa: PLC0415  # an extra

    at = 7  # behind the header of the file
    while at + 7 < len(text):
        size = int.from_bytes(text[at + 4 : at + 6], "little")
        yield Record.FromString(text[at + 7 : at + 7 + size])
        at += 7 + size
