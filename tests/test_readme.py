"""The commands and the plugin in the README work as written."""

import re
import tomllib
from pathlib import Path

import pytest
import torch

import fedbench_core
from fedbench_core import RunSpec, run
from fedbench_core.cli.group import COMMANDS
from fedbench_core.runner import How
from fedbench_core.testing import CompressorContract

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def block(language: str, containing: str) -> str:
    """The fenced block in `language` that contains `containing`."""
    (found,) = [text for text in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if containing in text]
    return found


@pytest.fixture(scope="module")
def signs(kit, installed):  # noqa: ARG001  # the tiny network must be installed
    """The plugin of the README, installed."""
    project = tomllib.loads(block("toml", "entry-points"))["project"]
    assert project["entry-points"]["fedbench"] == {"signs": "fedbench_signs"}
    installed(project["name"], block("python", "class Signs"), project["version"])


def test_plugin_of_the_readme_runs(signs, tmp_path) -> None:  # noqa: ARG001  # installed
    settings = {"method": "fedavg", "backbones": "tiny", "dataset": "spots", "rounds": 2, "compressor": "signs"}
    finished = run(RunSpec.of(settings), How(out=tmp_path, executor="serial"))
    assert 0 < finished.record["costs"]["bytes_up"] < finished.record["costs"]["bytes_dense"]
    assert finished.record["versions"]["fedbench-signs"] == "0.1"
    assert len(finished.clients) == 4
    assert (
        finished.messages["bytes"].sum()
        == finished.record["costs"]["bytes_up"] + finished.record["costs"]["bytes_down"]
    )


@pytest.mark.usefixtures("signs")
class TestSigns(CompressorContract):
    name = "signs"


@pytest.mark.parametrize("command", sorted(set(re.findall(r"fedbench ([a-z-]+)", README)) - {"fedbench"}))
def test_commands_of_the_readme_exist(command) -> None:
    assert command in COMMANDS


def test_package_lists_its_public_names() -> None:
    public = [name for name in dir(fedbench_core) if not name.startswith("_")]
    assert public == ["RunSpec", "compare", "load_model", "records", "run"]


@pytest.mark.slow
def test_python_of_the_readme_runs(kit, tmp_path, monkeypatch) -> None:  # noqa: ARG001  # the tiny network is installed
    monkeypatch.chdir(tmp_path)
    code = block("python", "load_model").replace("rounds=10", "rounds=1, dataset='spots'").replace("resnet18", "tiny")
    names = {"images": torch.zeros(2, 3, 8, 8, dtype=torch.uint8)}
    exec(code, names)  # noqa: S102  # it is the README
    assert names["probabilities"].shape == (2, 3)
    small = "seeds=2, backbones='tiny', dataset='spots', rounds=2, steps=2, clients=3"
    code = block("python", "fb.records").replace('seeds=2, backbones="resnet18", rounds=10', small)
    exec(code, found := {"Path": Path})  # noqa: S102  # as above
    assert set(found["runs"].frame()["method"]) == {"fedavg"}
    assert set(found["found"].frame()["entry"]) == {"fedavg", "local"}
    assert "fedavg" in found["found"]._repr_markdown_()
    assert found["picture"]._repr_png_().startswith(b"\x89PNG")
    assert (tmp_path / "curves.svg").exists()
