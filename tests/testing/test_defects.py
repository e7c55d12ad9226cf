"""The contract suites catch seeded defects, each by a message that names the cause."""

import importlib
import sys
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path

import pytest

from fedbench_core.testing.check import check

SOURCES = Path(__file__).parent / "defects"
QUICK = ("compressors", "aggregators", "topologies", "partitioners", "datasets", "backbones")
"""Kinds whose whole suites run on every defect."""
THOROUGH = ("local_updates", "methods")
"""Kinds whose suites take seconds: only the case that shows a defect runs on it."""
ENDLESS = {"d-hangs": "restored[no tensors", "d-tries-for-ever": "more_clients", "d-waits-for-ever": "is_named"}
"""Defects that never end, and a case that shows it."""
PROCESS = "new_process"
"""A case that starts a process: its defects are left to the slow tests."""
Found = dict[str, list[str]]


def _table(name: str) -> dict[str, tuple[object, ...]]:
    """A table of defects, read without installing them; the last item of each entry is a part of the message."""
    sys.path.insert(0, str(SOURCES))
    try:
        return importlib.import_module(name).DEFECTS
    finally:
        sys.path.remove(str(SOURCES))
        sys.modules.pop(name, None)


def _rows(*kinds: str) -> list[tuple[str, ...]]:
    """Kind, name, and the items of each entry except the defect itself."""
    return [(kind, name, *entry[1:]) for kind in kinds for name, entry in _table(f"defects_{kind}").items()]


@pytest.fixture(scope="module")
def look(installed, tmp_path_factory) -> Callable[..., Found]:
    """The messages of the suites about a distribution of defects, by part. All are installed at once."""
    for kind in (*QUICK, *THOROUGH):
        installed(f"fedbench-{kind}", (SOURCES / f"defects_{kind}.py").read_text())
    for name, (source, _) in _table("defects_plugins").items():
        installed(name, source)
    known: dict[str, Found] = {}

    def find(target: str, key: str = "", **how: object) -> Found:
        if target + key not in known:
            with chdir(tmp_path_factory.mktemp("litter")):  # one of them writes where it is run
                parts = check(target, **how)
            known[target + key] = {
                part.name: [case.message for case in part.cases if case.outcome == "failed"] for part in parts
            }
        return known[target + key]

    return find


def _expect(messages: list[str], word: str) -> None:
    assert messages, "no suite noticed"
    assert any(word in message for message in messages), f"{word!r} is not in\n" + "\n".join(dict.fromkeys(messages))


@pytest.mark.parametrize(("kind", "name", "word"), [row for row in _rows(*QUICK) if row[1] not in ENDLESS])
def test_faulty_part_is_caught(look, kind, name, word) -> None:
    parts = _table(f"defects_{kind}").keys() - ENDLESS
    _expect(look(f"fedbench-{kind}", only=lambda part, _case: part in parts)[name], word)


@pytest.mark.parametrize(("kind", "name", "word"), [row for row in _rows(*QUICK) if row[1] in ENDLESS])
def test_endless_part_is_caught(look, kind, name, word) -> None:  # noqa: ARG001  # the kind names the test
    _expect(look(name, limit=1, only=lambda _part, case: ENDLESS[name] in case)[name], word)


@pytest.mark.parametrize(("kind", "name", "case", "word"), [row for row in _rows(*THOROUGH) if row[2] != PROCESS])
def test_faulty_update_or_method_is_caught(look, kind, name, case, word) -> None:  # noqa: ARG001  # all cases at once
    cases = {name: case for _, name, case, _ in _rows(kind) if case != PROCESS}
    found = look(f"fedbench-{kind}", only=lambda part, test: cases.get(part, "no case") in test)
    _expect(found[name], word)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name", "case", "word"), _rows(*THOROUGH))
def test_faulty_update_or_method_is_caught_by_the_whole_suite(look, kind, name, case, word) -> None:  # noqa: ARG001  # all of them
    _expect(look(f"fedbench-{kind}", "whole")[name], word)


@pytest.mark.parametrize(("name", "word"), [(name, word) for name, (_, word) in _table("defects_plugins").items()])
def test_unusable_plugin_is_caught(look, name, word) -> None:
    _expect([message for messages in look(name).values() for message in messages], word)


def test_number_of_defects() -> None:
    assert len(_rows(*QUICK, *THOROUGH)) + len(_table("defects_plugins")) >= 150
