"""A real cluster of two nodes on this machine: the same record as a serial run, whatever dies."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from fedbench_core import RunSpec, run
from fedbench_core.api import DataRequest, RequestError, RunError
from fedbench_core.records.record import comparable, read_record
from fedbench_core.registry import registry
from fedbench_core.runner import How, resume

pytestmark = [
    pytest.mark.ray,
    # Ray leaves the log files of the processes that it starts open.
    pytest.mark.filterwarnings("default::ResourceWarning", "default::pytest.PytestUnraisableExceptionWarning"),
]
ray = pytest.importorskip("ray")

STORE_BYTES = 80 * 10**6
KINDS = (
    "stateless",
    *(pytest.param(method, marks=pytest.mark.slow) for method in ("fedkd", "fedskd")),
    "stateful, absent clients",
    "server with a memory",
    "server that trains",
    "ring, a full circle",
)
MAIN = "from fedbench_core.cli import main; main()"
# What starts pytest in the background makes its children deaf to Ctrl-C.
HEARS_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"


@pytest.fixture(scope="module")
def cluster(kit, training_server):  # noqa: ARG001  # its nodes have both plugins
    """Two nodes of one CPU each, and this process connected to the first."""
    from ray.cluster_utils import Cluster  # noqa: PLC0415  # only where Ray is

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(kit), *filter(None, sys.path)]))
        patch.setenv("RAY_health_check_period_ms", "500")  # a dead node is noticed in seconds
        node = {"num_cpus": 1, "object_store_memory": STORE_BYTES, "include_dashboard": False}
        made = Cluster(initialize_head=True, head_node_args=node)
        made.add_node(num_cpus=1, object_store_memory=STORE_BYTES, node_name="second")
        ray.init(made.address, log_to_driver=False)
        yield made
        ray.shutdown()
        made.shutdown()


@pytest.fixture
def on_ray(cluster, tmp_path):  # noqa: ARG001  # it must be there
    """How a run is computed on the cluster that this process is connected to."""
    return How(out=tmp_path / "ray", executor="ray")


@pytest.mark.parametrize("kind", KINDS)
def test_a_cluster_gives_the_serial_record(kind, on_ray, small, scientific, undisturbed) -> None:
    settings = small(kind)
    finished = run(RunSpec.of(settings), on_ray)
    assert scientific(finished.folder) == undisturbed(settings)
    assert sorted(path.name for path in finished.folder.iterdir()) == [
        "clients.csv",
        "messages.csv",
        "models",
        "record.json",
    ]
    assert (finished.record["how"]["executor"], finished.record["how"]["workers"]) == ("ray", 2)


@pytest.mark.parametrize("end", ["die", pytest.param("hang", marks=pytest.mark.slow)])
def test_a_turn_whose_worker_dies_or_hangs_is_repeated(
    end, on_ray, small, doomed, scientific, undisturbed, tmp_path
) -> None:
    spec = doomed(**{"local_update.end": end})
    finished = run(spec, replace(on_ray, client_timeout=20.0 if end == "hang" else None))
    assert len(list((tmp_path / "marks").iterdir())) == 1
    expected = undisturbed(small("ring"))
    found = scientific(finished.folder)
    assert found["clients.csv"] == expected["clients.csv"]
    assert found["record"]["test"] == expected["record"]["test"]


@pytest.mark.slow
def test_a_turn_that_always_kills_its_worker_is_named(on_ray, doomed, tmp_path) -> None:
    spec = doomed(**{"local_update.times": 99})
    whose = r"local update kit-doomed of fedbench-kit 1\.0"
    with pytest.raises(RunError, match=f"client 1, round 1: its worker died.* in {whose}, 3 times"):
        run(spec, on_ray)
    assert len(list((tmp_path / "marks").iterdir())) == 3


def test_a_plugin_that_raises_is_named_as_by_every_executor(on_ray, small, tmp_path) -> None:
    spec = RunSpec.of(small(method="kit-faulty", backbones="tiny", set={"local_update.fault": "raise"}))
    told = []
    for how in (on_ray, How(out=tmp_path / "serial", executor="serial")):
        with pytest.raises(RunError, match="client 1, round 1") as error:
            run(spec, how)
        told.append(str(error.value))
    assert told[0] == told[1]


def test_a_node_that_is_killed_in_mid_round_changes_nothing(cluster, on_ray, small, scientific, undisturbed) -> None:
    settings = small("stateful, absent clients", rounds=5, seed=1)
    third = cluster.add_node(num_cpus=2, object_store_memory=STORE_BYTES, node_name="third")
    cluster.wait_for_nodes()
    alive = []

    def watch(event) -> None:
        if (event.round, event.turns) == (1, 2) and not alive:
            alive.append(len([node for node in ray.nodes() if node["Alive"]]))
            cluster.remove_node(third, allow_graceful=False)

    finished = run(RunSpec.of(settings), on_ray, watch)
    assert alive == [3]
    assert finished.record["how"]["workers"] == 4
    assert scientific(finished.folder) == undisturbed(settings)


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("2.0", r"node third has fedbench-kit 2\.0 \(here 1\.0\)"),
        (None, r"node third has no fedbench-kit \(here 1\.0\)"),
    ],
)
def test_a_node_that_has_not_what_is_here_is_named(version, words, cluster, on_ray, small, tmp_path) -> None:
    info = tmp_path / "site" / f"fedbench_kit-{version}.dist-info"
    info.mkdir(parents=True)
    if version:
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: fedbench-kit\nVersion: {version}\n")
    env = {"PYTHONPATH": str(tmp_path / "site")}
    third = cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES, node_name="third", env_vars=env)
    cluster.wait_for_nodes()
    try:
        with pytest.raises(RequestError, match=words):
            run(RunSpec.of(small("ring, a full circle")), on_ray)
    finally:
        cluster.remove_node(third)
    assert not list(on_ray.out.rglob("journal.json"))


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")  # so that a dead node is noticed in seconds
def test_a_cluster_without_a_node_that_is_left_ends_the_run(kit, tmp_path) -> None:
    from ray.cluster_utils import Cluster  # noqa: PLC0415  # only where Ray is

    node = {"object_store_memory": STORE_BYTES, "include_dashboard": False}
    other = Cluster(initialize_head=True, head_node_args={**node, "num_cpus": 0})
    try:
        only = other.add_node(**node, num_cpus=1)
        address = ["--ray-address", other.address, "--rounds", "2000", "--out", str(tmp_path / "out")]
        process = _command(kit, tmp_path, "run", *FLAGS.split(), *address)
        _wait_for_round(process, 2)
        other.remove_node(only, allow_graceful=False)
        _, stderr = process.communicate()
    finally:
        other.shutdown()
    assert process.returncode == 1
    assert "No node of the Ray cluster is left" in stderr.splitlines()[-1]


def test_images_that_no_object_store_can_hold_are_refused(cluster) -> None:  # noqa: ARG001  # connected
    from fedbench_core.federation.executors.ray_cluster import portable_splits  # noqa: PLC0415  # imports Ray

    spots = registry().make("dataset", "spots", {}).load(DataRequest(Path()))
    huge = np.broadcast_to(np.uint8(0), (40_000, 64, 64, 1))
    with pytest.raises(RunError, match=r"too small, with 80 MB: the images of spots take 164 MB.*--object-store-m"):
        portable_splits(replace(spots, train=replace(spots.train, images=huge)))


def _command(kit, tmp_path, *arguments: str) -> subprocess.Popen:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(kit), *filter(None, sys.path)])}
    env["FEDBENCH_CACHE"] = str(tmp_path / "cache")
    return subprocess.Popen(
        [sys.executable, "-c", f"{HEARS_CTRL_C}; {MAIN}", *arguments],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


FLAGS = "--method kit-ring --backbones tiny,wide --dataset spots --clients 4 --steps 2 --batch-size 8 --executor ray"


def _wait_for_round(process, number: int) -> str:
    """Read what a run says until a round is done."""
    said = []
    for line in process.stderr:
        said.append(line)
        if line.startswith(f"{number}/"):
            return "".join(said)
    raise AssertionError("".join(said))


@pytest.mark.slow
def test_a_driver_that_is_killed_goes_on_without_a_cluster(
    kit, cluster, small, scientific, undisturbed, tmp_path
) -> None:
    address = ["--ray-address", cluster.address, "--rounds", "60", "--out", str(tmp_path / "out")]
    process = _command(kit, tmp_path, "run", *FLAGS.split(), *address)
    _wait_for_round(process, 2)
    process.kill()
    process.communicate()
    [folder] = (tmp_path / "out").iterdir()
    assert not (folder / "record.json").exists()
    finished = resume(folder, How(executor="processes", workers=1))
    assert scientific(finished.folder) == undisturbed(small("ring", rounds=60))


def _of_ray(since: float) -> list[str]:
    """Processes of Ray's that were started since then."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            words = " ".join(process.cmdline())
            if process.create_time() > since and ("raylet" in words or "gcs_server" in words or "ray::" in words):
                found.append(words)
    return found


@pytest.mark.parametrize(
    "end", [*(pytest.param(end, marks=pytest.mark.slow) for end in (signal.SIGINT, signal.SIGTERM)), signal.SIGKILL]
)
def test_an_own_cluster_ends_with_its_run(end, kit, tmp_path) -> None:
    since = time.time()
    out = ["--rounds", "2000", "--workers", "1", "--out", str(tmp_path / "out")]
    process = _command(kit, tmp_path, "run", *FLAGS.split(), *out)
    said = _wait_for_round(process, 2)
    stages = ("starting", "loading", "building", "training")
    others = [line for line in said.splitlines() if not line[0].isdigit() and line.split()[0] not in stages]
    assert not others, "Ray is quiet"
    assert _of_ray(since)
    os.kill(process.pid, end) if end == signal.SIGTERM else os.killpg(process.pid, end)
    stdout, stderr = process.communicate()
    if end != signal.SIGKILL:
        assert (process.returncode, stdout) == (130, "")
        assert "fedbench resume" in stderr.splitlines()[-1]
        assert "Traceback" not in stderr
    deadline = time.monotonic() + 60
    while left := _of_ray(since):
        assert time.monotonic() < deadline, left
        time.sleep(0.2)


SUITE = """
name = "small"
question = "Which is better?"
seeds = 2
datasets = ["spots"]
backbones = ["tiny"]
[settings]
clients = 3
rounds = 2
steps = 2
batch_size = 8
[[entries]]
method = "local"
[[entries]]
method = "fedavg"
"""


@pytest.mark.parametrize(
    ("suite", "runs", "computed_by"),
    [
        pytest.param(SUITE, 4, "serial", id="a task for each run"),
        pytest.param(
            SUITE.replace("seeds = 2", "seeds = 1").rpartition("[[")[0],
            1,
            "ray",
            id="a task for each turn",
            marks=pytest.mark.slow,  # the records of runs on a cluster are compared above
        ),
    ],
)
def test_a_suite_files_the_records_that_it_files_here(suite, runs, computed_by, kit, cluster, tmp_path) -> None:
    records = {}
    for executor in ("processes", "ray"):
        path = tmp_path / executor / "small.toml"
        path.parent.mkdir()
        path.write_text(suite)
        flags = ["--executor", executor, "--out", str(path.parent / "runs"), "--json"]
        flags += ["--ray-address", cluster.address] if executor == "ray" else ["--workers", "1"]
        stdout, stderr = _command(kit, tmp_path, "suite", "run", str(path), *flags).communicate()
        assert json.loads(stdout or "{}").get("recorded") == runs, stderr
        files = sorted((path.parent / "records" / "small").glob("*.json"))
        records[executor] = {file.name: comparable(read_record(file)) for file in files}
        folders = [folder for folder in (path.parent / "runs").iterdir() if folder.is_dir()]
        assert {file.name for folder in folders for file in folder.iterdir()} == {
            "messages.csv",
            "record.json",
            "clients.csv",
        }
    assert records["processes"] == records["ray"]
    assert {read_record(file)["how"]["executor"] for file in files} == {computed_by}
