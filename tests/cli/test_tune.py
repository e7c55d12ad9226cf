"""`fedbench suite tune`: what it runs, writes, tells and repeats, and what `suite run` makes of it."""

import json
import re

import pytest
from click.testing import CliRunner

from fedbench_core.cli.group import fedbench

SUITE = """
name = "small"
question = "Which is better?"
seeds = 1
datasets = ["spots"]
backbones = ["tiny"]
[settings]
clients = 3
rounds = 1
steps = 2
batch_size = 8
[tuning]
trials = 3
seeds = [100]
ranges = {lr = {values = [0.1, 1e300]}}
[[entries]]
method = "local"
[[entries]]
name = "by hand"
method = "local"
lr = 0.05
"""


@pytest.fixture
def go(kit, tmp_path, monkeypatch):  # noqa: ARG001  # its parts must be installed
    """A command in this process, in an empty folder with leaderboards/suites/small.toml."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEDBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "leaderboards/suites").mkdir(parents=True)
    (tmp_path / "leaderboards/suites/small.toml").write_text(SUITE)
    return lambda *arguments: CliRunner().invoke(fedbench, [str(one) for one in arguments], prog_name="fedbench")


@pytest.mark.slow
def test_suite_is_tuned_verified_and_run_with_what_was_chosen(go, tmp_path) -> None:
    suite, path = "leaderboards/suites/small.toml", tmp_path / "leaderboards/suites/small.tuned.json"
    first = go("suite", "tune", suite, "--workers", "2")
    assert first.exit_code == 0, first.output
    assert "NaN" in first.stdout  # why a trial failed
    written = path.read_text()
    choices = {choice["entry"]: choice for choice in json.loads(written)["choices"]}
    trials = [(trial["settings"].get("lr"), trial["score"] is None) for trial in choices["local"]["trials"]]
    assert sorted(trials, key=str) == [(0.1, False), (1e300, True), (None, False)]
    assert choices["by hand"]["fixed"] == ["lr"]
    assert len({trial["score"] for trial in choices["by hand"]["trials"]}) == 1
    assert len(list((tmp_path / "leaderboards/records/small/trials").glob("local-trial-*-s100-*.json"))) == 2

    assert go("verify", path).exit_code == 0
    failed = trials.index((1e300, True))
    forgeries = {'"chosen": [0-9]': ('"chosen": 9', f'"chosen": {failed}'), '"gflops": [0-9.e-]*': ('"gflops": 7.0',)}
    for pattern, forged in forgeries.items():
        for text in forged:
            path.write_text(re.sub(pattern, text, written, count=1))
            assert go("verify", path).exit_code == (1 if "gflops" in text else 2)
    path.write_text(written)

    result = go("suite", "run", suite)
    assert result.exit_code == 0, result.output
    rows = {row["entry"]: row["done"] for row in json.loads(go("suite", "status", suite, "--json").stdout)}
    assert rows == {"local": 1, "local, tuned": 1, "by hand": 1, "by hand, tuned": 1}


WRONG = (
    ("seeds = [100]", "seeds = [0]"),
    ("1e300]", "-1]"),
    ("ranges = {lr", "ranges = {local_update.mu"),
    ("lr = 0.05", "trials = 9"),
    ("clients = 3", "clients = 3\nhold_out_clients = 9"),
)


@pytest.mark.parametrize(
    ("command", "old", "new"), [*(("tune", *one) for one in WRONG), *(("run", *one) for one in WRONG[-1:] + WRONG[1:2])]
)
def test_wrong_request_ends_before_anything_runs(command, old, new, go, tmp_path) -> None:
    suite = tmp_path / "leaderboards/suites/small.toml"
    suite.write_text(SUITE.replace(old, new))
    result = go("suite", command, str(suite))
    assert (result.exit_code, result.stdout) == (2, "")
    assert not (tmp_path / "runs").exists()
    assert [path.name for path in suite.parent.iterdir()] == ["small.toml"]
