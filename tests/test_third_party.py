"""Methods of third parties: separate distributions, installed by pip and run."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fedbench_core.registry import registry
from fedbench_core.testing import LocalUpdateContract, MethodContract

EXAMPLES = Path(__file__).parent / "examples"


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder with the installed examples; built by the setuptools at hand, so without a network."""
    source, target = (tmp_path_factory.mktemp("third-party") / name for name in ("source", "site"))
    shutil.copytree(EXAMPLES, source)
    flags = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "install", *flags, "--target", str(target)]
    command += [str(source / name) for name in ("fedbench-fedbn",)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


def _fedbench(site: Path, *arguments: str):
    command = [sys.executable, "-c", "from fedbench_core.cli import main; main()", *arguments, "--json"]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_variant_of_fedavg_takes_less_than_sixty_lines() -> None:
    files = sorted(
        path for path in (EXAMPLES / "fedbench-fedbn").rglob("*") if path.is_file() and path.suffix in {".py", ".toml"}
    )
    assert [path.name for path in files] == ["fedbench_fedbn.py", "pyproject.toml"]
    assert sum(len(path.read_text().splitlines()) for path in files) < 60


def test_third_party_method_runs_like_any_other(site, tmp_path) -> None:
    [plugin] = [plugin for plugin in _fedbench(site, "plugins") if plugin["distribution"] == "fedbench-fedbn"]
    assert plugin["version"] == "0.1.0"
    settings = {
        "backbones": "test_resnet",
        "clients": 3,
        "rounds": 2,
        "steps": 2,
        "executor": "serial",
        "out": tmp_path,
    }
    options = {"backbone.stem": "timm", "dataset.train": 96, "dataset.val": 64, "dataset.test": 64}
    flags = [f"--{name}={value}" for name, value in settings.items()]
    flags += [f"--set={name}={value}" for name, value in options.items()]
    record = _fedbench(site, "run", "--method", "fedbn", *flags)
    assert record["versions"]["fedbench-fedbn"] == "0.1.0"
    assert record["test"]["role"] == "personal"
    assert record["test"]["matrix"]["predictor_of_client"] == [0, 1, 2]  # each client has its own normalization
    assert 0 < record["costs"]["bytes_up"] < 6 * record["costs"]["backbones"]["test_resnet"]["bytes"]


@pytest.fixture
def installed(site, monkeypatch):
    """The examples on this process's path."""
    monkeypatch.syspath_prepend(site)
    registry.cache_clear()
    yield
    registry.cache_clear()


@pytest.mark.usefixtures("installed")
class TestFedBNUpdate(LocalUpdateContract):
    name = "fedbn"


@pytest.mark.usefixtures("installed")
class TestFedBN(MethodContract):
    name = "fedbn"
