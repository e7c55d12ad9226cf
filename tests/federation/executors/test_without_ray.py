"""What a machine without Ray, or a request that is wrong, is told; and that nobody meets Ray who did not ask for it."""

import re
import socket
import subprocess
import sys
import threading

import pytest

from fedbench_core import RunSpec, run
from fedbench_core import runner as runs
from fedbench_core.api import RequestError
from fedbench_core.runner import How

SMALL = {"method": "kit-ring", "backbones": "tiny", "dataset": "spots", "clients": 2, "rounds": 1, "steps": 1}


def _refused(tmp_path, spec=SMALL, **how) -> str:
    with pytest.raises(RequestError) as error:
        run(RunSpec.of(spec), How(out=tmp_path / "runs", **how))
    assert not (tmp_path / "runs").exists()
    return str(error.value)


def test_ray_that_is_not_installed_is_told_how_to_install(kit, tmp_path, monkeypatch) -> None:  # noqa: ARG001  # installed
    monkeypatch.setattr(runs, "find_spec", lambda _name: None)
    assert _refused(tmp_path, executor="ray").endswith("not installed: pip install 'fedbench-core[ray]'")


@pytest.mark.parametrize("flag", [{"ray_address": "auto"}, {"gpus_per_client": 0.5}], ids=str)
def test_what_is_about_ray_needs_ray(flag, kit, tmp_path) -> None:  # noqa: ARG001  # installed
    assert "Add --executor ray" in _refused(tmp_path, **flag)


def test_gpus_that_no_turn_uses_are_refused(kit, tmp_path, monkeypatch) -> None:  # noqa: ARG001  # installed
    monkeypatch.setattr(runs, "find_spec", lambda _name: True)
    assert "--device cuda" in _refused(tmp_path, executor="ray", gpus_per_client=0.5)
    assert "Use --device cuda." in _refused(tmp_path, {**SMALL, "device": "cuda:1"}, executor="ray")


@pytest.mark.ray  # where it is not installed, an import would end every run
def test_a_run_that_does_not_ask_for_ray_does_not_import_it(kit, tmp_path) -> None:
    pytest.importorskip("ray")
    code = f"""
import sys
sys.path.insert(0, {str(kit)!r})
from pathlib import Path
from fedbench_core import RunSpec, run
from fedbench_core.runner import How
import fedbench_core.cli.run, fedbench_core.cli.suite, fedbench_core.suites.running
run(RunSpec.of({SMALL!r}), How(out=Path({str(tmp_path)!r}), executor="serial"))
print([name for name in sys.modules if name.split(".")[0] == "ray"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.fixture
def deaf():
    """The address of a server that takes connections and says nothing that a Ray cluster would say."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = threading.Event()

        def serve() -> None:
            while not done.is_set():
                connection, _ = server.accept()
                with connection:
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        port = server.getsockname()[1]
        yield f"127.0.0.1:{port}"
        done.set()
        socket.create_connection(("127.0.0.1", port)).close()
        thread.join()


@pytest.fixture
def gone():
    """An address where nobody listens any more."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return f"127.0.0.1:{port}"


@pytest.mark.usefixtures("kit")
def test_an_address_where_no_cluster_answers_is_told_before_anything_begins(deaf, gone, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(runs, "find_spec", lambda _name: True)
    for address in (gone, deaf, "no..host:6379", f"{'long' * 20}:6379"):
        told = _refused(tmp_path, executor="ray", ray_address=address)
        assert f"--ray-address {address}: no Ray cluster answers there" in told
    for address in ("nonsense", "ray://here:10001", "here:"):
        assert "expected HOST:PORT" in _refused(tmp_path, executor="ray", ray_address=address)


@pytest.mark.ray
@pytest.mark.usefixtures("kit")
def test_auto_without_a_cluster_is_told_at_once(gone, tmp_path, monkeypatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert "no Ray cluster was started" in _refused(tmp_path, executor="ray", ray_address="auto")
    monkeypatch.setenv("RAY_ADDRESS", gone)
    told = _refused(tmp_path, executor="ray", ray_address="auto")
    assert re.search(f"auto: no Ray cluster answers at .*{gone.partition(':')[2]}", told)
