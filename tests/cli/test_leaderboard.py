"""`fedbench leaderboard`: what it prints, writes and checks, and how it refuses."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def go(shelf, cli, monkeypatch):
    """The command, in a folder whose `leaderboards/` holds one recorded suite and one that is not run."""
    shelf.fill(shelf.suite())
    shelf.suite("later")
    monkeypatch.chdir(shelf.folder.parent)
    return lambda *arguments: cli("leaderboard", *arguments)


def test_a_suite_is_printed_with_its_notes(go) -> None:
    result = go("small")
    assert result.exit_code == 0, result.stderr
    for words in (
        "spots, Dirichlet 0.3, tiny",
        "personalization ↑",
        "MB up",
        "fedavg-ft",
        "Noise floor",
        "papers quote 2R",
    ):
        assert words in result.stdout
    assert "**" not in result.stdout
    assert "`" not in result.stdout


def test_a_suite_is_found_by_its_file(go) -> None:
    assert go("leaderboards/suites/small.toml").stdout == go("small").stdout


def test_without_a_suite_all_are_listed(go) -> None:
    lines = go().stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["suite", "later", "small"]
    assert json.loads(go("--json").stdout)[0]["best"] == "not run yet"


def test_formats(go) -> None:
    assert json.loads(go("small", "--json").stdout) == json.loads(go("small", "--format", "json").stdout)
    assert len(list(csv.DictReader(io.StringIO(go("small", "--format", "csv").stdout)))) == 5
    assert go("small", "--format", "markdown").stdout.startswith("<!--")
    assert r"\toprule" in go("small", "--format", "latex").stdout


def test_sort_and_budget(go) -> None:
    value = json.loads(go("small", "--json", "--sort", "ece", "--budget", "bytes=1MB", "--budget", "gflops=1.5").stdout)
    [table] = value["tables"]
    assert value["ranked_by"] == "ece"
    assert [row["entry"] for row in table["rows"]] == ["centralized", "local"]
    assert len(table["left_out"]) == 3


def test_write_check_and_a_changed_digit(go) -> None:
    assert go("--check").exit_code == 1
    written = go("--write")
    assert written.exit_code == 0, written.stderr
    assert "Written: leaderboards/small.md" in written.stdout
    page = Path("leaderboards/small.md")
    before = page.read_bytes()
    go("--write")
    assert page.read_bytes() == before
    assert go("--check").exit_code == 0
    page.write_text(page.read_text().replace("25 records", "24 records"))
    red = go("--check")
    assert red.exit_code == 1
    assert "small.md differs from the records in line" in red.stderr


def test_another_folder(go, shelf, tmp_path) -> None:
    shelf.folder.rename(tmp_path / "elsewhere")
    assert "There are no suites in leaderboards/suites" in go().stderr
    assert go("small", "--folder", str(tmp_path / "elsewhere")).exit_code == 0


WRONG = {
    "suite": (["smal"], 2, "There is no suite leaderboards/suites/smal.toml"),
    "not run": (["later"], 2, "Suite later has no records yet"),
    "column": (["small", "--sort", "auk"], 2, "No column named 'auk'. Did you mean 'auc'"),
    "budget": (["small", "--budget", "bytes=x"], 2, "expected bytes=10MB"),
    "both": (["--write", "--check"], 2, "give one"),
    "write sorted": (["small", "--write", "--sort", "auc"], 2, "--sort is for what is printed"),
    "sort all": (["--sort", "auc"], 2, "--sort is for one suite"),
    "format all": (["--format", "csv"], 2, "--format is for one suite"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_requests(case, go) -> None:
    arguments, status, says = WRONG[case]
    result = go(*arguments)
    assert (result.exit_code, result.stdout) == (status, "")
    assert says in result.stderr


def test_missing_baselines_are_refused_in_a_sentence(go, shelf) -> None:
    shelf.suite(baselines={})
    result = go("small")
    assert result.exit_code == 2
    for row in ("steps (", "flops (", "centralized (", "tuned ("):
        assert row in result.stderr
    assert "is not named" in result.stderr
    assert "fedbench suite run leaderboards/suites/small.toml" in result.stderr


@pytest.mark.usefixtures("go")
def test_plugins_need_not_be_installed(tmp_path) -> None:
    """The backbone and the images of these records are a plugin's that another process does not have."""
    program = "from fedbench_core.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "leaderboard", "small"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "fedavg-ft" in done.stdout
