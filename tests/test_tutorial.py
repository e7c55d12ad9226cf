"""The tutorial, followed step by step: every file is written, every command is run."""

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from fedbench_core.cli import fedbench

TUTORIAL = (Path(__file__).parents[1] / "plugins" / "TUTORIAL.md").read_text(encoding="utf-8")
FILE = re.compile(r"^(?:Add [^`]*)?`([\w./]+)`:\n\n```\w+\n(.*?)```", re.DOTALL | re.MULTILINE)
SMALL = {
    "executor": "serial",
    "backbones": "test_resnet",
    "clients": 3,
    "rounds": 2,
    "steps": 2,
    "set": ["backbone.stem=timm", "dataset.train=96", "dataset.val=64", "dataset.test=64"],
}


def _files() -> dict[str, str]:
    """The files of the tutorial, by path; what is added later is at the end."""
    found: dict[str, str] = {}
    for path, block in FILE.findall(TUTORIAL):
        found[path] = found.get(path, "") + block
    return found


FILES = _files()
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", TUTORIAL, re.DOTALL) for line in block.splitlines()]
OURS = list(dict.fromkeys(line for line in COMMANDS if line.startswith("fedbench ")))


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    """The package of the tutorial."""
    folder = tmp_path_factory.mktemp("tutorial") / "fedbench-first"
    for path, text in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


@pytest.fixture(scope="module")
def site(package, tmp_path_factory) -> Path:
    """A folder with the installed package; built by the setuptools at hand, so without a network."""
    target = tmp_path_factory.mktemp("site")
    flags = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "install", *flags, "--target", str(target), str(package)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture
def installed(site, monkeypatch, fresh_registry):  # noqa: ARG001  # of plugins
    """The package on this process's path."""
    monkeypatch.syspath_prepend(site)
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "fedbench_first"]:
        del sys.modules[name]


def test_files_and_commands_are_recognized() -> None:
    modules = ["topk", "median", "proxhead"]
    parts = [f"fedbench_first/{module}.py" for module in modules]
    assert sorted(FILES) == sorted(["pyproject.toml", *parts, "tests/test_first.py"])
    for module in modules:
        assert f'{module} = "fedbench_first.{module}"' in FILES["pyproject.toml"].splitlines()
    folders = "mkdir -p fedbench-first/fedbench_first fedbench-first/tests && cd fedbench-first"
    assert set(COMMANDS) - set(OURS) == {folders, "pip install -e .", "pytest"}


@pytest.mark.slow
@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("command", OURS)
def test_commands_succeed(command, tmp_path) -> None:
    words = shlex.split(command)[1:]
    if words[0] == "run":
        given = {**SMALL, "out": tmp_path}
        words += [f"--{flag}={value}" for flag, value in given.items() if flag != "set"]
        words += [f"--set={option}" for option in given["set"]]
    if "fedkd" in words:
        words.append("--set=local_update.student=test_resnet")
    done = CliRunner().invoke(fedbench, words, prog_name="fedbench")
    assert done.exit_code == 0, done.output
    if words[0] == "show":
        assert f"{command}\n```\n\n```text\n{done.stdout}```" in TUTORIAL


@pytest.mark.slow
def test_tests_of_the_tutorial_pass(package, site, tmp_path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += ["--basetemp", str(tmp_path / "own")]  # else it deletes the files of earlier test runs
    done = subprocess.run(command, cwd=package, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    passed = re.search(r"^(\d+) passed", done.stdout, re.MULTILINE)
    assert passed is not None, done.stdout
    assert int(passed[1]) > 80


@pytest.mark.usefixtures("installed")
def test_own_test_fails_without_the_memory() -> None:
    code: dict[str, object] = {}
    exec(FILES["tests/test_first.py"], code)  # noqa: S102  # of the tutorial
    own = code["test_entries_that_were_not_sent_are_in_memory"]
    own()
    broken = "".join(line for line in FILES["fedbench_first/topk.py"].splitlines(True) if "memory[name] =" not in line)
    assert broken != FILES["fedbench_first/topk.py"]
    exec(broken, code)  # noqa: S102  # as above
    with pytest.raises(KeyError, match="w"):
        own()


def test_plugins_are_short() -> None:
    [compressor] = [node for node in ast.parse(FILES["fedbench_first/topk.py"]).body if isinstance(node, ast.ClassDef)]
    assert compressor.end_lineno - compressor.decorator_list[0].lineno + 1 < 25
    method = FILES["pyproject.toml"] + FILES["fedbench_first/proxhead.py"]
    assert len(method.splitlines()) < 60


def test_files_are_formatted_and_linted(package) -> None:
    for check in (["check", "--select=E,F,I,W,UP,B,SIM"], ["format", "--check"]):
        command = ["ruff", *check, "--isolated", "--line-length=120"]
        done = subprocess.run([*command, "fedbench_first"], cwd=package, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
