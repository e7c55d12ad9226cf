"""`fedbench plot`: each picture from the command line."""

import pytest

from fedbench_core import RunSpec, run
from fedbench_core.runner import How


@pytest.fixture
def go(shelf, cli, monkeypatch):
    """The command, in a folder with a recorded suite."""
    shelf.fill(shelf.suite())
    monkeypatch.chdir(shelf.folder.parent)
    return lambda *arguments: cli("plot", *arguments)


@pytest.fixture
def runs(kit, tmp_path):  # noqa: ARG001  # its parts must be installed
    """Folders of three runs: two of them but for the seed the same."""
    settings = {"method": "fedavg", "backbones": "tiny", "dataset": "spots", "clients": 3, "rounds": 2, "steps": 2}
    specs = [RunSpec.of({**settings, **more}) for more in ({}, {"seed": 1}, {"lr": 0.5})]
    return [str(run(spec, How(out=tmp_path / "runs", executor="serial")).folder) for spec in specs]


@pytest.mark.parametrize("kind", ["matrix", "shares", "curves"])
def test_pictures_of_a_run(kind, go, runs, tmp_path) -> None:
    result = go(kind, runs[0], str(tmp_path / "a.svg"))
    assert (result.exit_code, result.stdout) == (0, f"Drawn: {tmp_path / 'a.svg'}\n"), result.stderr
    assert (tmp_path / "a.svg").read_bytes().startswith(b"<?xml")


@pytest.mark.parametrize("kind", ["curves", "bytes"])
def test_pictures_of_a_suite(kind, go) -> None:
    assert go(kind, "small", "a.png").exit_code == 0
    assert go(kind, "small", "b.png", "--metric", "global_accuracy", "--case", "dirichlet").exit_code == 0


def test_runs_of_one_setting_are_one_entry(runs) -> None:
    from pathlib import Path  # noqa: PLC0415

    from fedbench_core.leaderboard.cases import by_settings  # noqa: PLC0415
    from fedbench_core.records.record import read_record  # noqa: PLC0415

    entries = by_settings(read_record(Path(folder)) for folder in runs)
    assert {name: list(own) for name, own in entries.items()} == {"fedavg, lr 0.02": [0, 1], "fedavg, lr 0.5": [0]}


def test_ranks_need_datasets(go, shelf) -> None:
    assert "it has one dataset" in go("ranks", "small", "a.svg").stderr
    file = shelf.suite("wide", datasets=[f"d{n}" for n in range(6)], seeds=2)
    shelf.fill(file)
    assert go("ranks", "wide", "a.svg").exit_code == 0
    red = go("bytes", "wide", "a.svg")
    assert red.exit_code == 2
    assert "d0, Dirichlet 0.3, tiny; d1" in red.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["matrix", "nowhere", "a.svg"], "could not be read as a record"),
        (["curves", "nowhere", "a.svg"], "There is no suite"),
        (["curves", "nowhere", "neither", "a.svg"], "expected folders of finished runs"),
        (["bytes", "small", "a.txt"], ".svg, .png, .pdf"),
        (["bytes", "small", "a.svg", "--metric", "auk"], "Did you mean 'auc'"),
        (["bytes", "small", "a.svg", "--case", "iid"], "expected a part of one of these titles"),
        (["curves", "small", "a.svg", "--metric", "mae"], "No run here has a learning curve of mae"),
    ],
)
def test_wrong_requests(arguments, says, go) -> None:
    result = go(*arguments)
    assert result.exit_code in (1, 2)
    assert result.stdout == ""
    assert says in result.stderr
