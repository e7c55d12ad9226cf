"""Plugins that clash, are broken or are for another version: every command works, and names them."""

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
SMALL = ["--dataset", "spots", "--backbones", "tiny", "--clients", "2", "--rounds", "1", "--steps", "1"]


@pytest.fixture(autouse=True)
def installed(kit, distribution, monkeypatch, tmp_path) -> None:  # noqa: ARG001  # `kit` must be installed
    """Two plugins that clash, one that is broken, and one for another version."""
    distribution("fedbench-first", TAKEN % "first")
    distribution("fedbench-second", TAKEN % "second")
    distribution("fedbench-broken", "raise OSError('no disk')")
    distribution("fedbench-newer", NEWER)
    monkeypatch.setenv("FEDBENCH_CACHE", str(tmp_path / "cache"))


def named(stderr: str) -> int:
    """The number of lines that name all broken plugins."""
    return sum(all(name in line for name in NAMES) for line in stderr.splitlines())


def test_broken_plugins_are_listed_with_reasons(cli_json) -> None:
    problems = {plugin["distribution"]: " ".join(plugin["problems"]) for plugin in cli_json("plugins")}
    assert all(word in problems["fedbench-first"] for word in ("test-taken", "fedbench-second 1.0"))
    assert all(word in problems["fedbench-second"] for word in ("test-taken", "fedbench-first 1.0"))
    assert "OSError: no disk" in problems["fedbench-broken"]
    assert "99" in problems["fedbench-newer"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["list", "compressors", "test-*"],
        ["list", "backbones"],
        ["show", "local"],
        ["partition", *SMALL],
        ["plugin", "check", "test-own-first"],
    ],
    ids=" ".join,
)
def test_other_command_works_and_names_broken_plugins(cli, arguments) -> None:
    result = cli(*arguments)
    assert result.exit_code == 0, result.stderr
    assert named(result.stderr.splitlines()[-1]) == 1


def test_new_plugin_can_be_created(cli, tmp_path) -> None:
    result = cli("plugin", "new", "idea", "--out", str(tmp_path))
    assert (result.exit_code, named(result.stderr)) == (0, 1)


def test_run_names_broken_plugins_once_before_it_starts(cli, tmp_path) -> None:
    result = cli("run", "--method", "local", *SMALL, "--executor", "serial", "--out", str(tmp_path))
    assert result.exit_code == 0, result.stderr
    assert named(result.stderr.partition("training on")[0]) == named(result.stderr) == 1


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["plugin", "--help"], ["--version"]])
def test_help_names_no_broken_plugin(cli, arguments) -> None:
    result = cli(*arguments)
    assert (result.exit_code, result.stderr) == (0, "")


def test_contested_name_is_refused_with_both_plugins(cli) -> None:
    result = cli("run", "--method", "local", "--compressor", "test-taken", *SMALL)
    assert result.exit_code == 2
    assert "fedbench-first 1.0" in result.stderr
    assert "fedbench-second 1.0" in result.stderr


@pytest.mark.parametrize(
    ("name", "reason"),
    [("fedbench-broken", "no disk"), ("fedbench-newer", "99"), ("test-taken", "fedbench-second 1.0")],
)
def test_check_of_broken_plugin_fails_with_the_reason(cli, name, reason) -> None:
    result = cli("plugin", "check", name)
    assert result.exit_code == 1
    assert reason in result.stdout
