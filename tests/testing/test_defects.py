"""The contract suites catch seeded defects, each by a message that names the cause."""

import importlib
import sys
from collections.abc import Callable
from contextlib import chdir
from functools import cache
from pathlib import Path

import pytest

from fedbench_core.testing.check import check

SOURCES = Path(__file__).parent / "defects"
KINDS = tuple(path.stem.removeprefix("defects_") for path in sorted(SOURCES.glob("defects_*.py")))
PARTS = tuple(kind for kind in KINDS if kind != "plugins")
ENDLESS = ("d-hangs", "d-tries-for-ever", "d-waits-for-ever")
"""Defects that never end: their cases have a short time limit."""
LONG = {("local_updates", "new_process"), ("methods", "learns")}
"""Kinds and cases that start a process or train for seconds: their defects are left to the slow tests."""
PLUGIN = "parts"
"""The entry point of a plugin, under which its problems are found: a part that can't be used is one."""
Found = dict[str, list[str]]


@cache
def _table(kind: str) -> dict[str, tuple[object, ...]]:
    """A table of defects, read without installing them; the last item of each entry is a part of the message."""
    name = f"defects_{kind}"
    sys.path.insert(0, str(SOURCES))
    try:
        return importlib.import_module(name).DEFECTS
    finally:
        sys.path.remove(str(SOURCES))
        sys.modules.pop(name, None)


def _rows(*, endless: bool = False) -> list[tuple[str, ...]]:
    """Kind, name, case, and a part of the message."""
    rows = [(kind, name, *entry[1:]) for kind in PARTS for name, entry in _table(kind).items()]
    return [row for row in rows if (row[1] in ENDLESS) == endless]


@pytest.fixture(scope="module")
def look(installed, tmp_path_factory) -> Callable[..., Found]:
    """The messages of the suites about a distribution of defects, by part. All are installed at once."""
    for kind in PARTS:
        installed(f"fedbench-{kind}", (SOURCES / f"defects_{kind}.py").read_text())
    for name, (source, _) in _table("plugins").items():
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


def _expect(found: Found, name: str, word: str) -> None:
    messages = found.get(name) or found.get(PLUGIN, [])
    assert messages, "no suite noticed"
    assert any(word in message for message in messages), f"{word!r} is not in\n" + "\n".join(dict.fromkeys(messages))


@pytest.mark.parametrize(("kind", "name", "case", "word"), [row for row in _rows() if (row[0], row[2]) not in LONG])
def test_faulty_part_is_caught(look, kind, name, case, word) -> None:  # noqa: ARG001  # all cases of a kind at once
    cases = {row[1]: row[2] for row in _rows() if row[0] == kind and (kind, row[2]) not in LONG}
    _expect(look(f"fedbench-{kind}", only=lambda part, test: cases.get(part, "no case") in test), name, word)


@pytest.mark.parametrize(("kind", "name", "case", "word"), _rows(endless=True))
def test_endless_part_is_caught(look, kind, name, case, word) -> None:  # noqa: ARG001  # the kind names the test
    _expect(look(name, limit=1, only=lambda _part, test: case in test), name, word)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name", "case", "word"), _rows())
def test_faulty_part_is_caught_by_the_whole_suite(look, kind, name, case, word) -> None:  # noqa: ARG001  # as above
    defects = _table(kind).keys() - set(ENDLESS)
    _expect(look(f"fedbench-{kind}", "whole", only=lambda part, _test: part in defects), name, word)


@pytest.mark.parametrize(("name", "word"), [(name, word) for name, (_, word) in _table("plugins").items()])
def test_unusable_plugin_is_caught(look, name, word) -> None:
    _expect(look(name), PLUGIN, word)


def test_number_of_defects() -> None:
    assert len(_rows()) + len(_rows(endless=True)) + len(_table("plugins")) >= 240
