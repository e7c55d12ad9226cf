"""TensorBoard, MLflow and Weights & Biases. Each is imported when a run is tracked, and not before."""

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fedbench_core.api import RequestError, RunLog, TrackedRun, Tracker

_PROJECT = "fedbench"
"""The experiment of MLflow, and the project of W&B, unless their own environment variables name another."""
_FINAL = "final/"
"""How the names of test scores and costs begin, so that they don't continue a curve."""
_ALLOWED = "MLFLOW_ALLOW_FILE_STORE"


@dataclass(frozen=True)
class TensorBoard(Tracker):
    """Event files in OUT/tensorboard. To show them: tensorboard --logdir OUT/tensorboard."""

    def check(self) -> None:
        """RequestError if TensorBoard is not installed."""
        _require("tensorboard")

    def start(self, run: TrackedRun) -> RunLog:
        """A folder of event files; those that are there are read."""
        return _TensorBoardLog(run)


class _TensorBoardLog(RunLog):
    def __init__(self, run: TrackedRun) -> None:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: PLC0415  # an extra
        from torch.utils.tensorboard.writer import SummaryWriter  # noqa: PLC0415  # as above

        folder = str(run.folder / run.name)
        before = EventAccumulator(folder, size_guidance={"scalars": 0})
        if Path(folder).is_dir():
            before.Reload()
        tags = before.Tags()["scalars"]
        self.rounds = max((event.step for tag in tags for event in before.Scalars(tag)), default=0)
        self._finished = any(tag.startswith(_FINAL) for tag in tags)
        self._last = self.rounds
        self._settings = dict(run.settings)
        self._writer = SummaryWriter(folder)

    def log(self, rounds: int, scalars: Mapping[str, float]) -> None:
        self._last = rounds
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, rounds)
        self._writer.flush()

    def finish(self, summary: Mapping[str, float] | None) -> None:
        if summary is not None and not self._finished:
            final = {_FINAL + name: value for name, value in summary.items()}
            self._writer.add_hparams(self._settings, final, run_name=".", global_step=self._last)
        self._writer.close()


@dataclass(frozen=True)
class MLflow(Tracker):
    """Runs of the experiment `fedbench`: in OUT/mlflow, or where MLFLOW_TRACKING_URI says.

    To show them: MLFLOW_ALLOW_FILE_STORE=true mlflow ui --backend-store-uri OUT/mlflow.
    """

    def check(self) -> None:
        """RequestError if MLflow is not installed."""
        _require("mlflow")

    def start(self, run: TrackedRun) -> RunLog:
        """A run with the settings as parameters; the one that an earlier command started, if there is one."""
        return _MLflowLog(run)


class _MLflowLog(RunLog):
    def __init__(self, run: TrackedRun) -> None:
        with _file_store_allowed():
            self._open(run)

    def _open(self, run: TrackedRun) -> None:
        from mlflow import MlflowClient  # noqa: PLC0415  # an extra

        self._client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or run.folder.resolve().as_uri())
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", _PROJECT)
        known = self._client.get_experiment_by_name(name)
        experiment = known.experiment_id if known else self._client.create_experiment(name)
        found = self._client.search_runs([experiment], f"tags.`fedbench.id` = '{run.id}'")
        own = found[0] if found else self._new(experiment, run)
        self._id = own.info.run_id
        self._finished = any(name.startswith(_FINAL) for name in own.data.metrics)
        histories = [self._client.get_metric_history(self._id, name) for name in own.data.metrics]
        self.rounds = self._last = max((point.step for history in histories for point in history), default=0)

    def _new(self, experiment: str, run: TrackedRun) -> Any:
        own = self._client.create_run(experiment, run_name=run.name, tags={"fedbench.id": run.id})
        for name, value in run.settings.items():
            self._client.log_param(own.info.run_id, name, value)
        return own

    def log(self, rounds: int, scalars: Mapping[str, float]) -> None:
        from mlflow.entities import Metric  # noqa: PLC0415  # an extra

        now, self._last = int(time.time() * 1000), rounds
        self._client.log_batch(self._id, [Metric(name, value, now, rounds) for name, value in scalars.items()])

    def finish(self, summary: Mapping[str, float] | None) -> None:
        if summary is not None and not self._finished:
            self.log(self._last, {_FINAL + name: value for name, value in summary.items()})
            self._client.set_terminated(self._id)


@contextmanager
def _file_store_allowed() -> Iterator[None]:
    """MLflow wants a database, which needs a server or further packages, and asks for this variable otherwise."""
    given = os.environ.get(_ALLOWED)
    os.environ[_ALLOWED] = given or "true"
    try:
        yield
    finally:
        del os.environ[_ALLOWED]
        if given is not None:
            os.environ[_ALLOWED] = given


@dataclass(frozen=True)
class WandB(Tracker):
    """Runs of the project `fedbench`: offline in OUT/wandb, unless WANDB_MODE is set.

    To send them: wandb sync OUT/wandb/wandb/offline-run-*.
    """

    def check(self) -> None:
        """RequestError if W&B is not installed."""
        _require("wandb")

    def start(self, run: TrackedRun) -> RunLog:
        """A run with the settings as its configuration; it continues the one of an earlier command."""
        return _WandBLog(run)


class _WandBLog(RunLog):
    """W&B can't be asked what is in an offline run, so a file beside it tells. A run without news is not begun."""

    def __init__(self, run: TrackedRun) -> None:
        self._tracked = run
        self._file = run.folder / f"{run.id}.json"
        known = json.loads(self._file.read_text(encoding="utf-8")) if self._file.exists() else {}
        self.rounds = self._last = known.get("rounds", 0)
        self._finished = known.get("finished", False)
        self._begun: Any = None

    @property
    def _run(self) -> Any:
        if self._begun is None:
            import wandb  # noqa: PLC0415  # an extra

            mode: Any = os.environ.get("WANDB_MODE", "offline")  # W&B refuses another than its own
            self._tracked.folder.mkdir(parents=True, exist_ok=True)
            self._begun = wandb.init(
                project=os.environ.get("WANDB_PROJECT", _PROJECT),
                dir=self._tracked.folder,
                id=self._tracked.id,
                name=self._tracked.name,
                config=dict(self._tracked.settings),
                mode=mode,
                resume="allow",
                reinit="create_new",
                settings=wandb.Settings(silent=True, console="off"),
            )
        return self._begun

    def log(self, rounds: int, scalars: Mapping[str, float]) -> None:
        self._run.log(dict(scalars), step=rounds, commit=True)
        self._last = rounds
        self._remember()

    def finish(self, summary: Mapping[str, float] | None) -> None:
        if summary is not None and not self._finished:
            self._run.summary.update({_FINAL + name: value for name, value in summary.items()})
            self._finished = True
            self._remember()
        if self._begun is not None:
            self._begun.finish()

    def _remember(self) -> None:
        known = {"rounds": self._last, "finished": self._finished}
        self._file.write_text(json.dumps(known), encoding="utf-8")


def _require(name: str) -> None:
    if find_spec(name) is None:
        raise RequestError(f"--track {name} needs {name}, which is not installed: pip install 'fedbench-core[{name}]'")


TRACKERS = {"tensorboard": TensorBoard, "mlflow": MLflow, "wandb": WandB}
