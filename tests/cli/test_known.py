"""Names of methods that are remembered between commands: answers without torch, and never stale ones."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from fedbench_core.api.folders import cached
from fedbench_core.cli import fedbench, known

PROGRAM = """
import json, sys
from fedbench_core.cli import fedbench
status = 0
try:
    fedbench(sys.argv[1:])
except SystemExit as end:
    status = end.code
print(json.dumps({"status": status, "torch": "torch" in sys.modules}), file=sys.stderr)
"""


@pytest.fixture
def go(environment):
    """Run a command in a process of its own: its exit status, whether it imported torch, and its output."""

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *arguments], env=environment, capture_output=True, text=True, check=True
        )
        return {**json.loads(done.stderr.splitlines()[-1]), "out": done.stdout, "err": done.stderr}

    return run


def test_names_that_were_damaged_are_not_known(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("FEDBENCH_CACHE", str(tmp_path))
    path = known._path()
    path.parent.mkdir()
    path.write_bytes(
        cached(json.dumps({"key": known.key_of_plugins(), "entries": {"method": [{"name": "fedavg"}]}}).encode())
    )
    assert known.known() == {"method": [{"name": "fedavg"}]}
    path.write_bytes(path.read_bytes().replace(b"fedavg", b"fedavf"))
    assert known.known() is None


@pytest.mark.slow
def test_names_are_known_without_torch_until_a_plugin_changes(go, kit, environment) -> None:
    first, second = go("list", "methods"), go("list", "methods")
    assert (first["torch"], second["torch"]) == (True, False)
    assert first["out"] == second["out"]
    wrong = go("run", "--method", "fedavgg")
    assert (wrong["status"], wrong["torch"], "'fedavg'" in wrong["err"]) == (2, False, True)
    missing = CliRunner().invoke(fedbench, ["list", "methods", "nothing-like-it"], env=environment)
    assert missing.exit_code == 2

    plugin = next(kit.glob("*_module.py"))
    source = plugin.read_text()
    plugin.write_text(source.replace('"kit-faulty"', '"kit-renamed"'))
    try:
        changed = go("list", "methods")
    finally:
        plugin.write_text(source)
    assert (changed["torch"], "kit-renamed" in changed["out"], "kit-faulty" in changed["out"]) == (True, True, False)
