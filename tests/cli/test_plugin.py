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


def test_a_plugin_is_written_and_what_comes_next_is_said(cli, tmp_path) -> None:
    result = cli("plugin", "new", "my-idea", "--kind", "local-update", "--out", str(tmp_path))
    assert (result.exit_code, result.stderr) == (0, "")
    folder = tmp_path / "fedbench-my-idea"
    assert f"pip install -e {folder}\nfedbench plugin check my-idea\n" in result.stdout
    assert str(folder / "src" / "fedbench_my_idea" / "__init__.py") in result.stdout
    assert (folder / "pyproject.toml").is_file()
    other = json.loads(cli("plugin", "new", "other", "--out", str(tmp_path), "--json").stdout)
    assert other["folder"] == str(tmp_path / "fedbench-other")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["new"], "Missing argument 'NAME'"),
        (["new", "dense"], "There is a compressor named 'dense' already"),
        (["new", "idea", "--kind", "local_update"], "'local_update' is not one of"),
        (["check", "test-nobody"], "No part or plugin named 'test-nobody'"),
        (["check", "dense", "--set", "rank"], "expected PART.OPTION=VALUE"),
    ],
)
def test_a_wrong_request_is_exit_2(cli, arguments, says) -> None:
    result = cli("plugin", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr


def test_check_counts_what_was_run_and_says_why_something_was_skipped(cli, distribution) -> None:
    distribution("fedbench-test", SOUND)
    result = cli("plugin", "check", "fedbench-test")
    assert result.exit_code == 0
    heading, line, *more = result.stdout.splitlines()
    assert heading.split() == ["part", "name", "plugin", "run", "passed", "failed", "skipped"]
    kind, name, plugin, run, passed, failed, skipped = line.split()
    assert (kind, name, plugin, failed) == ("aggregator", "test-relay", "fedbench-test", "0")
    assert int(run) == int(passed) > 10
    reason = "skipped: aggregator test-relay, test_order_hardly_matters and"
    assert [said for said in more if said.startswith(reason) and said.endswith("this aggregator takes one message")]
    assert int(skipped) > 3
    assert f"aggregator test-relay: {passed} passed, {skipped} skipped" in result.stderr


def test_a_failure_is_exit_1_with_its_cause(cli, distribution) -> None:
    distribution("fedbench-test", FAULTY)
    result = cli("plugin", "check", "test-drops")
    assert result.exit_code == 1
    assert "failed: compressor test-drops, test_form_comes_back[a 3-long bias]" in result.stdout
    assert "tensor layer.weight was lost on the way" in result.stdout
    assert "cases failed." in result.stderr
    assert "Traceback" not in result.stdout + result.stderr


def test_check_as_json(cli, distribution) -> None:
    distribution("fedbench-test", FAULTY)
    result = cli("plugin", "check", "test-drops", "--json")
    assert result.exit_code == 1
    (part,) = json.loads(result.stdout)
    assert (part["part"], part["name"], part["plugin"]) == ("compressor", "test-drops", "fedbench-test")
    assert part["run"] == part["passed"] + part["failed"] == len(part["cases"]) - part["skipped"]
    failed = [case for case in part["cases"] if case["outcome"] == "failed"]
    assert len(failed) == part["failed"] > 10
    assert all(case["message"] for case in failed)


def test_an_option_reaches_the_part(cli) -> None:
    result = cli("plugin", "check", "quantity", "--set", "partitioner.alpha=-1")
    assert result.exit_code == 1
    assert "does not accept alpha=-1" in result.stdout
