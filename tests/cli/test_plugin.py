import json

import pytest

SOUND = """
from fedbench_core.api import hookimpl
from fedbench_core.parts.aggregators import Relay

@hookimpl
def fedbench_register_aggregators():
    return {"test-relay": Relay}
"""
FAULTY = """
from fedbench_core.api import Payload, hookimpl
from fedbench_core.parts.compressors import Dense

class Drops(Dense):
    def decode(self, payload):
        return Payload({}, payload.meta)

@hookimpl
def fedbench_register_compressors():
    return {"test-drops": Drops}
"""


def test_new_plugin_is_created_and_the_next_commands_are_printed(cli, tmp_path) -> None:
    result = cli("plugin", "new", "my-idea", "--kind", "local-update", "--out", str(tmp_path))
    assert (result.exit_code, result.stderr) == (0, "")
    folder = tmp_path / "fedbench-my-idea"
    assert f"pip install -e {folder}\nfedbench plugin check my-idea\n" in result.stdout
    assert str(folder / "src" / "fedbench_my_idea" / "__init__.py") in result.stdout
    assert (folder / "pyproject.toml").is_file()
    other = json.loads(cli("plugin", "new", "other", "--out", str(tmp_path), "--json").stdout)
    assert other["folder"] == str(tmp_path / "fedbench-other")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["new"], "NAME"),
        (["new", "dense"], "compressor named 'dense'"),
        (["new", "idea", "--kind", "local_update"], "local_update"),
        (["check", "test-nobody"], "test-nobody"),
        (["check", "dense", "--set", "rank"], "PART.OPTION=VALUE"),
        (["check", "dense", "--run", "lr"], "SETTING=VALUE"),
        (["check", "dense", "--run", "lrr=1"], "lr"),
        (["check", "dense", "--run", "lr=-1"], "--lr"),
    ],
)
def test_wrong_request_is_refused(cli, arguments, named) -> None:
    result = cli("plugin", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert named in result.stderr


def test_check_counts_cases_and_gives_the_reasons_of_skipped_ones(cli, distribution) -> None:
    distribution("fedbench-test", SOUND)
    result = cli("plugin", "check", "fedbench-test")
    assert result.exit_code == 0
    heading, line, *more = result.stdout.splitlines()
    assert heading.split() == ["part", "name", "plugin", "run", "passed", "failed", "skipped"]
    kind, name, plugin, run, passed, failed, skipped = line.split()
    assert (kind, name, plugin, failed) == ("aggregator", "test-relay", "fedbench-test", "0")
    assert int(run) == int(passed) > 10
    assert [line for line in more if line.startswith("skipped: aggregator test-relay, test_") and "one message" in line]
    assert int(skipped) > 3
    assert f"aggregator test-relay: {passed} passed, {skipped} skipped" in result.stderr


def test_failed_case_is_printed_with_its_cause(cli, distribution) -> None:
    distribution("fedbench-test", FAULTY)
    result = cli("plugin", "check", "test-drops")
    assert result.exit_code == 1
    assert "failed: compressor test-drops, test_" in result.stdout
    assert "layer.weight" in result.stdout
    assert "Traceback" not in result.stdout + result.stderr


def test_check_prints_json(cli, distribution) -> None:
    distribution("fedbench-test", FAULTY)
    result = cli("plugin", "check", "test-drops", "--json")
    assert result.exit_code == 1
    (part,) = json.loads(result.stdout)
    assert (part["part"], part["name"], part["plugin"]) == ("compressor", "test-drops", "fedbench-test")
    assert part["run"] == part["passed"] + part["failed"] == len(part["cases"]) - part["skipped"]
    failed = [case for case in part["cases"] if case["outcome"] == "failed"]
    assert len(failed) == part["failed"] > 10
    assert all(case["message"] for case in failed)


def test_option_reaches_the_part(cli) -> None:
    result = cli("plugin", "check", "quantity", "--set", "partitioner.alpha=-1")
    assert result.exit_code == 1
    assert "alpha=-1" in result.stdout
