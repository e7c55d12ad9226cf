"""`plugin new` writes packages that install and pass their tests as they are."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fedbench_core.api import RequestError
from fedbench_core.registry import KINDS
from fedbench_core.testing.check import check
from fedbench_core.testing.scaffold import create

CHEAP = ("is_a_value", "update_is_valid", "one_client", "describes_itself")
"""Cases of the suites of local updates and methods that take a moment only."""
each_kind = pytest.mark.parametrize("kind", KINDS)


def _installed(folder: Path, site: Path) -> None:
    """Install a package with pip; built by the setuptools at hand, so without a network."""
    flags = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "install", *flags, "--target", str(site), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _fedbench(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from fedbench_core.cli import main; main()", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
@each_kind
def test_new_plugin_installs_and_passes_its_check(tmp_path, kind) -> None:
    folder = create("my-idea", kind, tmp_path)
    _installed(folder, tmp_path / "site")
    done = _fedbench(tmp_path / "site", "plugin", "check", "fedbench-my-idea", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    parts = json.loads(done.stdout)
    assert {part["part"] for part in parts} >= {kind.replace("_", " ")}
    assert all(part["name"] == "my-idea" and part["failed"] == 0 < part["passed"] for part in parts)
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "value", str(folder)]
    tests += ["--basetemp", str(tmp_path / "own")]  # else it deletes the files of earlier test runs
    own = subprocess.run(
        tests, env={**os.environ, "PYTHONPATH": str(tmp_path / "site")}, capture_output=True, text=True, check=False
    )
    assert own.returncode == 0, own.stdout


@each_kind
def test_files_are_few_short_and_formatted(tmp_path, kind) -> None:
    folder = create("my-idea", kind, tmp_path)
    files = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
    module = "src/fedbench_my_idea/__init__.py"
    assert set(files) == {
        "README.md",
        "pyproject.toml",
        module,
        "src/fedbench_my_idea/py.typed",
        "tests/test_contracts.py",
    }
    assert len(files[module].splitlines()) < 70
    assert not [text for text in files.values() if re.search(r"\b[Ee]xample\b|KIND|USE\b", text)]
    ruff = [sys.executable, "-m", "ruff", "--isolated"]
    formatted = subprocess.run(
        [*ruff, "format", "--check", "--line-length", "120", str(folder)], capture_output=True, text=True, check=False
    )
    assert formatted.returncode == 0, formatted.stdout
    clean = subprocess.run(
        [*ruff, "check", "--line-length", "120", "--select", "E,F,I,D,ANN,B", "--ignore", "D1,D2,D4", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert clean.returncode == 0, clean.stdout


@each_kind
def test_names_follow_from_the_given_one(tmp_path, kind) -> None:
    folder = create("top2", kind, tmp_path)
    assert folder == tmp_path / "fedbench-top2"
    assert "class Top2(" in (folder / "src" / "fedbench_top2" / "__init__.py").read_text()
    assert '\nname = "fedbench-top2"\n' in (folder / "pyproject.toml").read_text()
    assert '    name = "top2"\n' in (folder / "tests" / "test_contracts.py").read_text()


@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("dense", "compressor", "There is a compressor named 'dense' already"),
        ("local", "topology", "There is a local update and a method named 'local' already"),
        ("Top K", "compressor", "'Top K' is not a valid name: .* Try 'top-k'"),
        ("3d", "dataset", "'3d' is not a valid name: .* Try 'd'"),
        ("_", "dataset", "'_' is not a valid name: expected lower-case words"),
        ("none", "compressor", "would be None, which exists already"),
        ("payload", "compressor", "would be Payload, which exists already"),
        ("core", "compressor", "A package fedbench-core is installed already"),
        ("resnet18", "backbone", "timm has a backbone 'resnet18'"),
        ("idea", "idea", "No kind of part named 'idea'"),
    ],
)
def test_impossible_name_is_refused(tmp_path, name, kind, says) -> None:
    with pytest.raises(RequestError, match=says):
        create(name, kind, tmp_path)
    assert not list(tmp_path.iterdir())


def test_existing_folder_is_left_alone(tmp_path) -> None:
    (tmp_path / "fedbench-idea").mkdir()
    with pytest.raises(RequestError, match=r"exists already\. Choose another name, or another folder with --out"):
        create("idea", "method", tmp_path)
    assert not list((tmp_path / "fedbench-idea").iterdir())


@each_kind
def test_new_plugin_passes_its_suite(tmp_path, distribution, kind) -> None:
    folder = create("idea", kind, tmp_path)
    distribution("fedbench-idea", (folder / "src" / "fedbench_idea" / "__init__.py").read_text())
    trains = kind in {"local_update", "method"}
    parts = check("fedbench-idea", only=lambda _part, case: not trains or any(word in case for word in CHEAP))
    for part in parts:
        assert [case for case in part.cases if case.outcome == "failed"] == []
        assert part.count("passed") > (1 if trains else 3)
