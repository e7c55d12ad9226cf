import pytest

from fedbench_core.api import RequestError
from fedbench_core.testing.check import check

PLUGIN = """
from dataclasses import dataclass
from fedbench_core.api import Compressor, hookimpl
from fedbench_core.parts.compressors import Dense, Half
from fedbench_core.parts.aggregators import Relay

class Raises(Dense):
    def encode(self, payload, ctx, memory):
        return {}["rank"]

@dataclass(frozen=True)
class Picky(Dense):
    path: str

@hookimpl
def fedbench_register_compressors():
    return {"t-half": Half, "t-raises": Raises, "t-picky": Picky, "dense": Dense}

@hookimpl
def fedbench_register_aggregators():
    return {"t-relay": Relay}
"""


@pytest.fixture(scope="module")
def found(installed):
    """The outcome for each part of the plugin, by name."""
    installed("fedbench-test", PLUGIN)
    return {part.name: part for part in check("fedbench-test")}


def test_parts_of_a_distribution_are_checked_by_the_suites_of_their_kinds(found) -> None:
    assert {(part.kind, part.name) for part in found.values()} == {
        ("plugin", "parts"),
        ("compressor", "t-half"),
        ("compressor", "t-raises"),
        ("compressor", "t-picky"),
        ("aggregator", "t-relay"),
    }
    half = found["t-half"]
    assert (half.count("failed"), half.count("skipped"), half.distribution) == (0, 0, "fedbench-test")
    assert half.count("passed") == len(half.cases) > 50
    assert "test_form_is_restored[all zeros]" in {case.test for case in half.cases}


def test_skip_has_its_reason(found) -> None:
    skipped = {case.message for case in found["t-relay"].cases if case.outcome == "skipped"}
    assert {"this aggregator takes one message", "this aggregator has no models of its own"} == skipped


def test_error_has_the_line_of_the_plugin(found) -> None:
    failed = [case for case in found["t-raises"].cases if case.outcome == "failed"]
    line = 1 + PLUGIN.splitlines().index('        return {}["rank"]')
    assert failed[0].message.startswith("KeyError: 'rank' (")
    assert failed[0].message.endswith(f"fedbench_test_module.py:{line})")


def test_part_that_needs_an_option_gets_it(found) -> None:
    (message,) = {case.message for case in found["t-picky"].cases}
    assert "compressor 't-picky' needs its option 'path'" in message
    (part,) = check("t-picky", {"compressor": {"path": "x"}})
    assert (part.count("passed"), part.count("failed")) == (len(part.cases), 0)


def test_problem_of_a_plugin_is_a_failure(found) -> None:
    (case,) = found["parts"].cases
    assert (case.test, case.outcome) == ("loads", "failed")
    assert "the compressor 'dense' is claimed by fedbench-core" in case.message


@pytest.mark.usefixtures("found")
def test_watcher_is_called_after_each_part() -> None:
    told = []
    check("t-relay", watch=lambda part: told.append((part.name, part.count("passed") > 0)))
    assert told == [("t-relay", True)]


def test_unknown_name_is_a_wrong_request() -> None:
    with pytest.raises(RequestError, match=r"No part or plugin named 'fedbench-cor'\. Did you mean 'fedbench-core'"):
        check("fedbench-cor")
