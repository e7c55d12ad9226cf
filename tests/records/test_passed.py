"""What passed its checks is not checked again, and anything else is."""

from pathlib import Path

import pytest

from fedbench_core.records.passed import remembered


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    monkeypatch.setenv("FEDBENCH_CACHE", str(tmp_path))
    return tmp_path


def checked(*texts: str, fails: str = "") -> list[str]:
    """The texts that are checked, in a command that reads them all."""
    with remembered() as passed:
        found = [text for text, known in zip(texts, passed.known(texts), strict=True) if not known]
        passed.add(text for text in found if text != fails)
    return found


def test_file_that_passed_is_not_checked_again_but_others_are() -> None:
    assert checked("a", "b", fails="b") == ["a", "b"]
    assert checked("a", "b", "a ") == ["b", "a "]


def test_digest_that_is_damaged_costs_a_check(cache: Path) -> None:
    checked("a", "b")
    (file,) = (cache / "records").iterdir()
    first, _, rest = file.read_bytes().lstrip().partition(b"\n")
    file.write_bytes(first[:-1] + b"\n" + rest)
    assert checked("a", "b") == ["a"]
    file.write_bytes(b"\xff")
    assert checked("a", "b") == ["a", "b"]


def test_checks_are_done_without_a_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FEDBENCH_CACHE", str(tmp_path / "file"))
    assert checked("a") == checked("a") == ["a"]
