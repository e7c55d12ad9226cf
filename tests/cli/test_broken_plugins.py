"""Plugins that clash, that are broken or that are for another version: everything else works, and says so."""

import pytest

TAKEN = """
from fedbench_core.api import hookimpl
from fedbench_core.parts.compressors import Dense

@hookimpl
def fedbench_register_compressors():
    return {"test-taken": Dense, "test-own-%s": Dense}
"""
NEWER = """
from fedbench_core.api import hookimpl

api_version = 99

@hookimpl
def fedbench_register_compressors(context):
    return {"test-newer": context.dense}
"""
NAMES = ("fedbench-broken", "fedbench-first", "fedbench-newer", "fedbench-second")
NOTICE = f"Something is wrong with {', '.join(NAMES)}: `fedbench plugins` says what.\n"
SMALL = ["--dataset", "phantom", "--backbones", "test_resnet", "--clients", "2", "--rounds", "1", "--steps", "1"]
SMALL += [f"--set=dataset.{split}=64" for split in ("train", "val", "test")] + ["--set=backbone.stem=timm"]


@pytest.fixture(autouse=True)
def installed(distribution, monkeypatch, tmp_path) -> None:
    """Two that clash, one that is broken, one for another version, all at once."""
    distribution("fedbench-first", TAKEN % "first")
    distribution("fedbench-second", TAKEN % "second")
    distribution("fedbench-broken", "raise OSError('no disk')")
    distribution("fedbench-newer", NEWER)
    monkeypatch.setenv("FEDBENCH_CACHE", str(tmp_path / "cache"))


def test_plugins_tells_all_of_it(cli) -> None:
    result = cli("plugins")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "'test-taken' is claimed by fedbench-first 1.0 (entry point 'parts') and fedbench-second" in result.stdout
    assert "fedbench-broken 1.0 (entry point 'parts'): failed to load: OSError: no disk" in result.stdout
    newer = "is written for version 99 of the contract, and this fedbench has version 1: install a newer fedbench-core"
    assert f"fedbench-newer 1.0 (entry point 'parts'): {newer}" in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["list", "methods"],
        ["list", "compressors", "test-*"],
        ["list", "backbones"],
        ["show", "svd"],
        ["show", "local"],
        ["partition", *SMALL],
        ["plugin", "check", "test-own-first"],
    ],
)
def test_every_other_command_works_and_says_so(cli, arguments) -> None:
    result = cli(*arguments)
    assert result.exit_code == 0, result.stderr
    assert result.stderr.endswith(NOTICE)


def test_a_new_plugin_can_be_written(cli, tmp_path) -> None:
    assert cli("plugin", "new", "idea", "--out", str(tmp_path)).stderr == NOTICE


def test_a_run_says_so_before_it_starts(cli, tmp_path) -> None:
    result = cli("run", "--method", "local", *SMALL, "--executor", "serial", "--out", str(tmp_path))
    assert result.exit_code == 0, result.stderr
    assert result.stderr.startswith(NOTICE)
    assert result.stderr.count(NOTICE) == 1


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["plugin", "--help"], ["--version"]])
def test_what_looks_at_no_plugin_says_nothing(cli, arguments) -> None:
    result = cli(*arguments)
    assert (result.exit_code, result.stderr) == (0, "")


def test_a_name_that_is_contested_is_refused_with_both(cli) -> None:
    result = cli("run", "--method", "local", "--compressor", "test-taken", *SMALL)
    assert result.exit_code == 2
    assert "fedbench-first 1.0" in result.stderr
    assert "fedbench-second 1.0" in result.stderr


@pytest.mark.parametrize(
    ("name", "says"),
    [("fedbench-broken", "no disk"), ("fedbench-newer", "version 99"), ("test-taken", "claimed by")],
)
def test_check_says_what_is_wrong_with_one(cli, name, says) -> None:
    result = cli("plugin", "check", name)
    assert result.exit_code == 1
    assert says in result.stdout
