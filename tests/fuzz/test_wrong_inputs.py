"""Wrong inputs end with exit status 1 or 2 and one sentence, and nothing is written or deleted."""

import importlib.util
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, Phase, event, given, settings

from fedbench_core import RunSpec, run
from fedbench_core.cli import fedbench
from fedbench_core.escapes import lines
from fedbench_core.runner import How

_spec = importlib.util.spec_from_file_location("wrong_inputs", Path(__file__).parent / "wrong_inputs.py")
wrong_inputs = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(wrong_inputs)


@pytest.fixture(scope="module")
def finished(kit, tmp_path_factory) -> bytes:  # noqa: ARG001  # installed
    """A record."""
    settings_ = {**wrong_inputs.SMALL, "clients": 3, "rounds": 2, "steps": 2}
    done = run(RunSpec.of(settings_), How(out=tmp_path_factory.mktemp("runs"), executor="serial"))
    return (done.folder / "record.json").read_bytes()


@pytest.fixture
def folder(finished, kit, tmp_path, monkeypatch) -> Path:  # noqa: ARG001  # installed
    """The working directory, with a record and a suite."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "record.json").write_bytes(finished)
    (tmp_path / "suites").mkdir()
    text = [f"{key} = {wrong_inputs.toml(value)}" for key, value in wrong_inputs.SUITE.items()]
    (tmp_path / "suites" / "small.toml").write_text("\n".join(text))
    (tmp_path / "precious.txt").write_text("precious")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEDBENCH_CACHE", str(tmp_path.parent / f"{tmp_path.name}-cache"))
    return tmp_path


def _contents(folder: Path) -> dict[str, Any]:
    paths = sorted(folder.rglob("*"))
    return {str(path): path.read_bytes() if path.is_file() else None for path in paths}


def _check(folder: Path, family: Any, wrong: Any) -> None:
    arguments = family.command(folder, wrong)
    before = _contents(folder)
    result = CliRunner().invoke(fedbench, arguments, prog_name="fedbench")
    event(f"exit status {result.exit_code}")
    if result.exit_code == 0:  # the value happened to be a right one
        for made in sorted(map(Path, _contents(folder).keys() - before.keys()), reverse=True):
            made.rmdir() if made.is_dir() else made.unlink()
        return
    _check_refusal(result, arguments)
    assert _contents(folder) == before, arguments


def _check_refusal(result: Result, arguments: list[str]) -> None:
    assert result.exit_code in (1, 2), (arguments, result.output, result.exception)
    for word in ("This is a bug", "Traceback"):
        assert word not in result.stderr, (arguments, result.stderr)
    if "Options:" in result.stderr:  # a group without a command prints its help
        return
    sentence = result.stderr.partition("Error: ")[2].rstrip("\n")
    assert sentence, (arguments, result.stderr)
    for word in map(lines, arguments):  # a line break that was typed is shown as it was typed
        sentence = sentence.replace(word, word.replace("\n", " "))
    assert "\n" not in sentence.replace("\n\t", ""), (arguments, result.stderr)  # click indents the choices


SECONDS = 60
"""After that long a sweep draws no more inputs; a busy machine draws fewer. A failure is shown as it was drawn."""


def _sweep(name: str, folder: Path, examples: int, *, random: bool) -> None:
    family, end = wrong_inputs.FAMILIES[name], time.monotonic() + SECONDS
    checks = settings(
        max_examples=examples,
        derandomize=not random,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate,) if random else tuple(Phase),
    )

    @checks
    @given(family.inputs)
    def check(wrong: Any) -> None:
        if not random or time.monotonic() < end:
            _check(folder, family, wrong)

    check()


@pytest.mark.parametrize("name", wrong_inputs.FAMILIES)
def test_wrong_input_is_refused_in_one_sentence_and_changes_no_file(folder, name) -> None:
    _sweep(name, folder, 10, random=False)


def test_name_that_is_too_long_for_a_file_is_refused_in_one_sentence(folder) -> None:
    before, words = _contents(folder), ["plugin", "new", "a" * 5000]
    _check_refusal(CliRunner().invoke(fedbench, words, prog_name="fedbench"), words)
    assert _contents(folder) == before


def test_control_characters_and_line_breaks_that_were_typed_are_not_the_messages_own(folder) -> None:
    before, words = _contents(folder), ["suite", "status", "\x8c \nrw"]
    _check_refusal(CliRunner().invoke(fedbench, words, prog_name="fedbench"), words)
    assert _contents(folder) == before


@pytest.mark.slow
@pytest.mark.parametrize("name", wrong_inputs.FAMILIES)
def test_thousands_of_wrong_inputs_are_refused_in_one_sentence(folder, name) -> None:
    _sweep(name, folder, 500, random=True)
