"""`fedbench leaderboard`: what it prints, writes, checks and refuses."""

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def go(suite_folder, cli, monkeypatch):
    """The command, in a folder whose `leaderboards/` has one recorded suite and one without records."""
    suite_folder.fill(suite_folder.suite())
    suite_folder.suite("later")
    monkeypatch.chdir(suite_folder.folder.parent)
    return lambda *arguments: cli("leaderboard", *arguments)


def test_suite_is_printed_with_its_notes(go) -> None:
    result, short = go("small", "--notes"), go("small").stdout
    assert result.exit_code == 0, result.stderr
    assert ("after the last round counts" in short, "--notes" in short, "personalization ↑" in short) == (
        False,
        True,
        True,
    )
    for text in ("spots, Dirichlet 0.3, tiny", "personalization ↑", "MB up", "fedavg-ft", "after the"):
        assert text in result.stdout
    assert "**" not in result.stdout
    assert "`" not in result.stdout


def test_suite_is_found_by_its_file(go) -> None:
    assert go("leaderboards/suites/small.toml").stdout == go("small").stdout


def test_suites_are_listed_if_none_is_named(go) -> None:
    lines = go().stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["suite", "later", "small"]
    assert [row["suite"] for row in json.loads(go("--json").stdout)] == ["later", "small"]


def test_format_is_that_of_the_flag(go) -> None:
    assert json.loads(go("small", "--json").stdout) == json.loads(go("small", "--format", "json").stdout)
    assert len(list(csv.DictReader(io.StringIO(go("small", "--format", "csv").stdout)))) == 6
    assert go("small", "--format", "markdown").stdout.startswith("<!--")
    assert r"\toprule" in go("small", "--format", "latex").stdout


def test_rows_are_sorted_and_limited_to_the_budget(go) -> None:
    value = json.loads(go("small", "--json", "--sort", "ece", "--budget", "bytes=1MB", "--budget", "gflops=1.5").stdout)
    [table] = value["tables"]
    assert value["ranked_by"] == "ece"
    assert [row["entry"] for row in table["rows"]] == ["centralized", "local", "majority"]
    assert len(table["left_out"]) == 3


def test_page_is_written_and_checked_against_the_records(go) -> None:
    assert go("--check").exit_code == 1
    written = go("--write")
    assert written.exit_code == 0, written.stderr
    assert "leaderboards/small.md" in written.stdout
    page = Path("leaderboards/small.md")
    before = page.read_bytes()
    go("--write")
    assert page.read_bytes() == before
    assert go("--check").exit_code == 0
    page.write_text(page.read_text().replace("30 of 30", "29 of 30"))
    red = go("--check")
    assert red.exit_code == 1
    assert "small.md" in red.stderr


def test_folder_is_that_of_the_flag(go, suite_folder, tmp_path) -> None:
    suite_folder.folder.rename(tmp_path / "elsewhere")
    assert "leaderboards/suites" in go().stderr
    assert go("small", "--folder", str(tmp_path / "elsewhere")).exit_code == 0


WRONG = {
    "suite": (["smal"], "leaderboards/suites/smal.toml"),
    "not run": (["later"], "later"),
    "column": (["small", "--sort", "auk"], "'auc'"),
    "budget": (["small", "--budget", "bytes=x"], "bytes=10MB"),
    "both": (["--write", "--check"], "--write and --check"),
    "write sorted": (["small", "--write", "--sort", "auc"], "--sort does not apply to pages"),
    "sort all": (["--sort", "auc"], "fedbench leaderboard SUITE --sort"),
    "format all": (["--format", "csv"], "fedbench leaderboard SUITE --format"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_request_is_refused(case, go) -> None:
    arguments, named = WRONG[case]
    result = go(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert named in result.stderr


def test_missing_baselines_leave_the_table_unranked_and_other_suites_ranked(go, suite_folder) -> None:
    small = suite_folder.suite(baselines={})
    suite_folder.fill(suite_folder.suite("ranked"))
    result = go("small", "--notes")
    assert (result.exit_code, result.stderr) == (0, "")
    for row in ("steps (", "flops (", "centralized (", "tuned ("):
        assert row in result.stdout
    assert f"fedbench suite run leaderboards/suites/{small.name}" in result.stdout
    assert go("--write").exit_code == 0
    assert "**Not ranked**" in (suite_folder.folder / "small.md").read_text()
    assert "**Not ranked**" not in (suite_folder.folder / "ranked.md").read_text()
    for form in ("csv", "json", "latex"):
        assert go("small", "--format", form).exit_code == 0


@pytest.mark.usefixtures("go")
def test_plugins_need_not_be_installed(tmp_path) -> None:
    """The backbone and the dataset of these records come from a plugin that the other process does not have."""
    program = "from fedbench_core.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "leaderboard", "small"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0
    assert re.fullmatch(r"majority, local, .*fedavg-ft: a part is not installed, .*\.\n", done.stderr)
    assert "fedavg-ft" in done.stdout


def test_page_is_written_without_a_bad_record_which_is_named_until_it_is_removed(go) -> None:
    [bad, *_] = sorted(Path("leaderboards/records/small").iterdir())
    bad.write_text("{")
    written = go("--write")
    assert written.exit_code == 0
    assert bad.name in written.stderr
    assert bad.name in Path("leaderboards/small.md").read_text()
    checked = go("--check")
    assert (checked.exit_code, checked.stdout) == (1, "")
    assert bad.name in checked.stderr
    bad.unlink()
    go("--write")
    assert go("--check").exit_code == 0


def test_watched_suite_is_shown_until_all_its_runs_are_recorded(suite_folder, cli, monkeypatch) -> None:
    file = suite_folder.suite()
    steps = iter([lambda point: 4 if point.entry == "local" else None, None])
    monkeypatch.setattr("fedbench_core.cli.watch.time.sleep", lambda _seconds: suite_folder.fill(file, next(steps)))
    result = cli("leaderboard", str(file), "--watch")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert [line.split(" runs ")[0] for line in lines] == ["0 of 30", "5 of 30", "30 of 30"]
    assert [name in line for name, line in zip(("local", "centralized"), lines[1:], strict=True)] == [True, True]


@pytest.mark.parametrize("flags", [["--watch"], ["small", "later", "--watch"], ["small", "--watch", "--json"]])
def test_watch_of_anything_else_than_one_suite_is_refused(go, flags) -> None:
    result = go(*flags)
    assert (result.exit_code, "--watch" in result.stderr) == (2, True)
