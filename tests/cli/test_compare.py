"""`fedbench compare`: what it runs, prints, keeps, saves and refuses."""

import json

import pytest
from click.testing import CliRunner

from fedbench_core.cli.group import fedbench

SMALL = ("--dataset", "spots", "--backbones", "tiny", "--clients", "3", "--rounds", "2", "--steps", "2")


@pytest.fixture
def go(kit, tmp_path, monkeypatch):  # noqa: ARG001  # its parts must be installed
    """A command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEDBENCH_CACHE", str(tmp_path / "cache"))
    return lambda *arguments: CliRunner().invoke(fedbench, ["compare", *arguments], prog_name="fedbench")


@pytest.mark.slow
def test_comparison_is_run_once_shown_kept_and_saved(go, tmp_path) -> None:
    arguments = ("local", "fedavg", "--seeds", "2", "--workers", "2", *SMALL)
    result = go(*arguments, "--save", "mine.toml", "--track", "kit-lines,kit-failing")
    assert result.exit_code == 0, result.stderr
    assert result.stderr.count("no route to the server") == 4  # in each run
    sent = [file.read_text() for file in (tmp_path / "runs" / "kit-lines").glob("*.jsonl")]
    assert ([text.count('"train/loss"') for text in sent], all('"summary"' in text for text in sent)) == ([2] * 4, True)
    assert "Not ranked" in result.stdout
    assert "\n  fedbench run majority --config runs/records/fedavg-spots-" in result.stdout
    assert "compared with" in result.stdout
    assert "fedbench suite run mine.toml" in result.stdout
    records = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs" / "records").glob("*.json")}
    assert len(records) == 4
    assert 'method = "fedavg"' in (tmp_path / "mine.toml").read_text()

    again = go(*arguments, "--json")
    assert [row["entry"] for row in json.loads(again.stdout)["tables"][0]["rows"]]
    assert {path: path.stat().st_mtime_ns for path in records} == records


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("local", "fedavgg"), "fedavg"),
        (("local", "--seeds", "0"), "--seeds 0"),
        (("local", "--seeds", "1,1"), "--seeds 1,1"),
        (("local", "--seeds", "few"), "--seeds few"),
        (("local", "--save", "taken.toml"), "taken.toml"),
        (("local", "--metric", "acu"), "auc"),
        (("local", "--track", "kit-line"), "kit-lines"),
    ],
)
def test_wrong_request_is_refused_before_anything_is_written(arguments, named, go, tmp_path) -> None:
    (tmp_path / "taken.toml").write_text("mine")
    result = go(*arguments, *SMALL)
    assert (result.exit_code, result.stdout) == (2, "")
    assert named in result.stderr
    assert {path.name for path in tmp_path.iterdir()} <= {"taken.toml", "cache"}
    assert (tmp_path / "taken.toml").read_text() == "mine"
