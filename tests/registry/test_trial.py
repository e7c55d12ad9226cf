"""Plugins whose import ends or forks the process: every command works, and names them."""

import json
import os
import subprocess
import sys
import time
from importlib.metadata import EntryPoint

import pytest

from fedbench_core.registry import trial

PROGRAM = """
import json, sys
from fedbench_core.registry.plugins import discover

for _ in range(2):
    sys.modules.pop("fedbench_counts_module", None)
    print(json.dumps({plugin.distribution: plugin.problems for plugin in discover()[0]}))
"""
SOURCES = {
    "fedbench-exits": "import os; os._exit(0)",
    "fedbench-fails": "import os; os._exit(3)",
    "fedbench-dies": "import os; os.kill(os.getpid(), 9)",
    "fedbench-forks": "import os; os.fork()",
    "fedbench-hook": """
        import os
        from fedbench_core.api import hookimpl

        @hookimpl
        def fedbench_register_methods():
            os._exit(4)
        """,
    "fedbench-child": "import os; child = os.fork(); child or os._exit(0); os.waitpid(child, 0)",
    "fedbench-runs": "import subprocess; subprocess.run(['true'], check=True)",
    "fedbench-quits": "raise SystemExit(5)",
    "fedbench-counts": "import os; open(os.environ['TRACE'], 'a').write('imported ')",
}


def test_import_that_ends_or_forks_the_process_is_a_problem_of_its_plugin_alone(distribution, tmp_path) -> None:
    for name, source in SOURCES.items():
        distribution(name, source)
    trace = tmp_path / "trace"
    path = os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "FEDBENCH_CACHE": str(tmp_path / "cache"), "TRACE": str(trace)}
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, env=environment, check=True)
    documents = done.stdout.splitlines()
    assert len(documents) == 2
    for document in documents:
        problems = {name: " ".join(reasons) for name, reasons in json.loads(document).items()}
        assert "status 0" in problems["fedbench-exits"]
        assert "status 3" in problems["fedbench-fails"]
        assert "SIGKILL" in problems["fedbench-dies"]
        assert "forked" in problems["fedbench-forks"]
        assert "status 4" in problems["fedbench-hook"]
        assert "SystemExit: 5" in problems["fedbench-quits"]
        assert [problems[name] for name in ("fedbench-child", "fedbench-runs", "fedbench-counts")] == ["", "", ""]
    imports = 3  # in a process of its own at first, then in this one, and once more without another process
    assert trace.read_text().split() == ["imported"] * imports


def test_interrupted_import_is_named(monkeypatch, tmp_path) -> None:
    """Ctrl-C reaches the parent while it waits for the second of three plugins."""
    points = [EntryPoint("parts", name, "fedbench") for name in ("quick", "slow_plugin", "later")]

    def interrupted(_child: int, _options: int) -> None:
        os.read(reader, 1)
        raise KeyboardInterrupt

    def load(point: EntryPoint) -> None:
        if point.value == "slow_plugin":
            os.write(writer, b".")
            time.sleep(60)

    reader, writer = os.pipe()
    monkeypatch.setenv("FEDBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(trial.os, "waitpid", interrupted)
    monkeypatch.setattr(trial.threading, "active_count", lambda: 1)
    with pytest.raises(KeyboardInterrupt, match="slow_plugin"):
        trial.failures(points, load)
    for end in (reader, writer):
        os.close(end)
