from types import SimpleNamespace

import pytest

from fedbench_core.federation.assembly import resolve
from fedbench_core.runner import How, run
from fedbench_core.testing import MethodContract
from fedbench_core.testing.method import CHANCE, ReversedRun, _assert_same
from fedbench_core.testing.small import partition_of, run_reversed


def _suite(tmp_path):
    """A suite for a method, and a function that runs it."""
    one = type("Suite", (MethodContract,), {"name": "local", "settings": {"rounds": 2}})()
    return one, lambda **settings: run(one.spec(**settings), How(tmp_path, cache=tmp_path, executor="serial"))


def test_suite_without_a_name_is_refused() -> None:
    with pytest.raises(TypeError, match="needs the name of a registered method"):
        MethodContract().test_describes_itself()


@pytest.mark.parametrize(("name", "score"), [("local", CHANCE), ("majority", 0.5)])
def test_score_that_contradicts_the_declaration_is_caught(name, score) -> None:
    finished = SimpleNamespace(record={"test": {"metrics": {"balanced_accuracy": score}}})
    one = type("Suite", (MethodContract,), {"name": name})()
    with pytest.raises(AssertionError, match=f"balanced accuracy {score:.3f}"):
        one.test_learns(lambda **_settings: finished)


def test_runs_that_differ_are_caught(tmp_path) -> None:
    one, go = _suite(tmp_path)
    other = run(one.spec(seed=1), How(tmp_path, cache=tmp_path, executor="serial"))
    with pytest.raises(AssertionError, match=r"clients\.csv changes with a second run"):
        _assert_same(go(), other, "a second run")


def test_bytes_that_were_not_recorded_are_caught(tmp_path, kit) -> None:  # noqa: ARG001  # installed
    one = type("Suite", (MethodContract,), {"name": "kit-whole"})()
    resolved = resolve(one.spec())
    partition, folder = partition_of(resolved.spec, tmp_path), tmp_path / "again"
    again = ReversedRun(resolved, partition, folder, *run_reversed(resolved, partition, folder))

    one.test_recorded_bytes_are_the_blobs(again)
    table = folder / "messages.csv"
    rows = table.read_text().splitlines()
    first = rows[1].split(",")
    table.write_text("\n".join([rows[0], ",".join([*first[:4], str(int(first[4]) - 1), first[5]]), *rows[2:]]))
    with pytest.raises(AssertionError, match=r"messages\.csv counts"):
        one.test_recorded_bytes_are_the_blobs(again)
