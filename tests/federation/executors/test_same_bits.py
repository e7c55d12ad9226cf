"""However a run is computed, its record is the same but for the block `how`."""

import json
import os
import signal
import subprocess
import sys

import pytest
import torch

from fedbench_core import RunSpec, run
from fedbench_core.api import RequestError, RunError
from fedbench_core.runner import How, resume

KINDS = ("stateless", "absent clients", "stateful", "ring", "centralized", "server with a memory", "server that trains")
WORKERS = ({"workers": 1}, {"workers": 2}, {"workers": 3, "checkpoint_every": 3})
STRICTEST = ("stateful, absent clients", "ring, a full circle")
CASES = [
    pytest.param(kind, how, marks=() if kind in STRICTEST and how == WORKERS[-1] else pytest.mark.slow)
    for kind in (*KINDS, *STRICTEST)
    for how in WORKERS
]


@pytest.mark.parametrize(("kind", "how"), CASES, ids=str)
def test_workers_do_not_change_a_bit(kind, how, small, scientific, undisturbed, tmp_path) -> None:
    settings = small(kind)
    finished = run(RunSpec.of(settings), How(out=tmp_path, **how))
    assert scientific(finished.folder) == undisturbed(settings)
    assert sorted(path.name for path in finished.folder.iterdir()) == [
        "clients.csv",
        "messages.csv",
        "models",
        "record.json",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["serial", "processes"])
def test_threads_that_torch_is_left_with_change_nothing(
    executor, small, scientific, undisturbed, tmp_path, monkeypatch
) -> None:
    settings = small("fedkd")
    alone = undisturbed(settings)
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    torch.set_num_threads(4)
    try:
        finished = run(RunSpec.of(settings), How(out=tmp_path, workers=2, executor=executor))
    finally:
        torch.set_num_threads(1)
    assert scientific(finished.folder) == alone


@pytest.mark.parametrize(
    "how", [pytest.param({"workers": 1}, marks=pytest.mark.slow), {"workers": 2, "checkpoint_every": 4}], ids=str
)
@pytest.mark.parametrize(
    ("end", "hops"),
    [("die", 0), *(pytest.param(*case, marks=pytest.mark.slow) for case in (("die", 1), ("hang", 1), ("hang", 0)))],
)
def test_a_lost_worker_is_replaced_and_its_turn_repeated(
    end, hops, how, small, doomed, scientific, undisturbed, tmp_path
) -> None:
    spec = doomed(**{"local_update.end": end, "topology.hops": hops, "local_update.phase": int(hops == 0)})
    limit = {"client_timeout": 10.0} if end == "hang" else {}
    finished = run(spec, How(out=tmp_path / "runs", **how, **limit))
    assert len(list((tmp_path / "marks").iterdir())) == 1
    expected = undisturbed(small("ring", set={"topology.hops": hops}))
    found = scientific(finished.folder)
    assert found["clients.csv"] == expected["clients.csv"]
    assert found["messages.csv"] == expected["messages.csv"]
    assert found["record"]["test"] == expected["record"]["test"]


def test_killed_run_goes_on_with_the_same_bits(small, doomed, scientific, undisturbed, tmp_path) -> None:
    config, out, cache = (tmp_path / name for name in ("spec.json", "runs", "cache"))
    spec = doomed(**{"local_update.round": 2})
    config.write_text(json.dumps({"spec": spec.model_dump(mode="json")}))
    command = [sys.executable, "-c", "from fedbench_core.cli import main; main()", "run"]
    command += ["--config", str(config), "--executor", "serial", "--out", str(out)]
    path = os.pathsep.join(filter(None, sys.path))  # the kit, too
    environment = {**os.environ, "PYTHONPATH": path, "FEDBENCH_CACHE": str(cache)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    [folder] = out.iterdir()
    assert len((folder / "clients.csv").read_text().splitlines()) == 1 + 2 * spec.clients
    found = scientific(resume(folder, How(cache=cache, executor="serial")).folder)
    expected = undisturbed(small("ring"))
    assert found["clients.csv"] == expected["clients.csv"]
    assert found["messages.csv"] == expected["messages.csv"]
    assert found["record"]["test"] == expected["record"]["test"]


@pytest.mark.parametrize(
    ("end", "cause"),
    [("die", "its worker died"), pytest.param("hang", "no answer within --client-timeout 10", marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("hops", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_a_turn_that_never_ends_well_is_named(end, cause, hops, doomed, tmp_path) -> None:
    options = {"local_update.end": end, "topology.hops": hops, "local_update.phase": int(hops == 0)}
    spec = doomed(**{**options, "local_update.times": 99})
    limit = {"client_timeout": 10.0} if end == "hang" else {}
    whose = r"local update kit-doomed of fedbench-kit 1\.0"
    with pytest.raises(RunError, match=f"client 1, round 1: {cause}.* {whose}, 3 times"):
        run(spec, How(out=tmp_path / "runs", workers=2, **limit))


@pytest.mark.parametrize("end", ["die", pytest.param("hang", marks=pytest.mark.slow)])
def test_lost_worker_of_an_aggregation_is_replaced(end, small, scientific, undisturbed, tmp_path) -> None:
    (tmp_path / "marks").mkdir()
    options = {"aggregator.path": str(tmp_path / "marks"), "aggregator.end": end, "aggregator.times": 1}
    limit = {"client_timeout": 10.0} if end == "hang" else {}
    spec = RunSpec.of(small("server that trains", set=options))
    found = scientific(run(spec, How(out=tmp_path / "runs", workers=2, **limit)).folder)
    assert len(list((tmp_path / "marks").iterdir())) == 1
    expected = undisturbed(small("server that trains"))
    assert found["clients.csv"] == expected["clients.csv"]
    assert found["record"]["test"] == expected["record"]["test"]


def test_aggregation_that_always_ends_its_worker_is_named(small, tmp_path) -> None:
    (tmp_path / "marks").mkdir()
    options = {"aggregator.path": str(tmp_path / "marks"), "aggregator.times": 99}
    part = r"aggregator refining of fedbench-training-server 1\.0"
    with pytest.raises(RunError, match=f"the server, round 1: its worker died.* {part}, 3 times"):
        run(RunSpec.of(small("server that trains", set=options)), How(out=tmp_path / "runs", workers=2))


def test_a_plugin_that_raises_is_named_by_every_executor(small, tmp_path) -> None:
    spec = RunSpec.of(small(method="kit-faulty", backbones="tiny", set={"local_update.fault": "raise"}))
    told = []
    for executor in ("serial", "processes"):
        with pytest.raises(
            RunError, match=r"client 1, round 1: local update kit-faulty of fedbench-kit 1\.0 raised ZeroDivisionError"
        ) as error:
            run(spec, How(out=tmp_path / executor, executor=executor, workers=2))
        told.append(str(error.value))
    assert told[0] == told[1]


def test_a_limit_on_turns_needs_processes(small, tmp_path) -> None:
    with pytest.raises(RequestError, match="--client-timeout"):
        run(RunSpec.of(small("ring")), How(out=tmp_path, executor="serial", client_timeout=1.0))
