"""`fedbench plot`: each plot from the command line."""

import json

import pytest

from fedbench_core import RunSpec, run
from fedbench_core.leaderboard.grouping import group_by_settings
from fedbench_core.records.record import read_record
from fedbench_core.runner import How


@pytest.fixture(scope="module")
def recorded(suite_folders, tmp_path_factory):
    """A folder of suites with records: one dataset in `small`, six in `wide`."""
    made = suite_folders(tmp_path_factory.mktemp("recorded") / "leaderboards")
    made.fill(made.suite())
    made.fill(made.suite("wide", datasets=[f"d{n}" for n in range(6)], seeds=2))
    return made.folder.parent


@pytest.fixture
def go(recorded, cli, monkeypatch):
    """The command, in a folder with recorded suites."""
    monkeypatch.chdir(recorded)
    return lambda *arguments: cli("plot", *arguments)


@pytest.fixture(scope="module")
def runs(kit, tmp_path_factory):  # noqa: ARG001  # its parts must be installed
    """The folders of three runs; two of them differ only in their seed."""
    settings = {"method": "fedavg", "backbones": "tiny", "dataset": "spots", "clients": 3, "rounds": 2, "steps": 2}
    specs = [RunSpec.of({**settings, **more}) for more in ({}, {"seed": 1}, {"lr": 0.5})]
    how = How(out=tmp_path_factory.mktemp("runs"), executor="serial")
    return [run(spec, how).folder for spec in specs]


@pytest.mark.parametrize("kind", ["matrix", "partition", "curves"])
def test_plot_of_a_run_is_written(kind, go, runs, tmp_path) -> None:
    result = go(kind, str(runs[0]), str(tmp_path / "a.svg"))
    assert result.exit_code == 0, result.stderr
    assert str(tmp_path / "a.svg") in result.stdout
    assert (tmp_path / "a.svg").read_bytes().startswith(b"<?xml")


@pytest.mark.parametrize("kind", ["curves", "bytes"])
def test_plot_of_a_suite_is_written(kind, go, tmp_path) -> None:
    assert go(kind, "small", str(tmp_path / "a.png")).exit_code == 0
    flags = ("--metric", "global_accuracy", "--case", "dirichlet")
    assert go(kind, "small", str(tmp_path / "b.png"), *flags).exit_code == 0
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("kind", ["curves", "bytes"])
def test_plot_of_several_runs_is_written(kind, go, runs, tmp_path) -> None:
    result = go(kind, *map(str, runs), str(tmp_path / "a.svg"))
    assert result.exit_code == 0, result.stderr
    assert go(kind, str(runs[0].parent), str(tmp_path / "b.svg")).exit_code == 0
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_leaderboard_takes_run_folders(runs, cli) -> None:
    found = json.loads(cli("leaderboard", *map(str, runs), "--json").stdout)["tables"]
    assert [{row["entry"] for row in table["rows"]} for table in found] == [{"fedavg, lr 0.002", "fedavg, lr 0.5"}]
    assert cli("leaderboard", str(runs[0]), "nowhere").exit_code == 2


def test_runs_that_differ_in_their_seed_are_one_entry(runs) -> None:
    entries = group_by_settings(map(read_record, runs))
    assert {name: list(own) for name, own in entries.items()} == {"fedavg, lr 0.002": [0, 1], "fedavg, lr 0.5": [0]}


def test_ranks_are_plotted_for_six_datasets_only(go, tmp_path) -> None:
    few = go("ranks", "small", str(tmp_path / "a.svg"))
    assert (few.exit_code, "one dataset" in few.stderr) == (2, True)
    assert go("ranks", "wide", str(tmp_path / "a.svg")).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "status", "named"),
    [
        (["matrix", "nowhere", "a.svg"], 1, "nowhere"),
        (["curves", "nowhere", "a.svg"], 2, "nowhere"),
        (["curves", "nowhere", "neither", "a.svg"], 2, "nowhere neither"),
        (["bytes", "small", "a.txt"], 2, ".svg, .png, .pdf"),
        (["bytes", "small", "a.svg", "--metric", "auk"], 2, "'auc'"),
        (["bytes", "small", "a.svg", "--case", "iid"], 2, "--case iid"),
        (["bytes", "wide", "a.svg"], 2, "d0, Dirichlet 0.3, tiny; d1"),
        (["curves", "small", "a.svg", "--metric", "mae"], 2, "--evaluate-every 1"),
    ],
)
def test_wrong_request_is_refused(arguments, status, named, go) -> None:
    result = go(*arguments)
    assert (result.exit_code, result.stdout) == (status, "")
    assert named in result.stderr
