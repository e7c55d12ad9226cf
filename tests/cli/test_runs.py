"""`fedbench runs` and `runs clean`."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from fedbench_core import RunSpec, run
from fedbench_core.cli import fedbench
from fedbench_core.records.folder import claimed
from fedbench_core.runner import How

SETTINGS = {"method": "local", "backbones": "tiny", "dataset": "spots", "clients": 2, "rounds": 3, "steps": 1}


class StopError(Exception):
    """Ends a run early."""


@pytest.fixture
def out(kit, tmp_path):  # noqa: ARG001  # its parts must be installed
    """A folder with a finished run, an interrupted one, and a folder of the user's."""

    def stop(event):
        if event.done == 2:
            raise StopError

    run(RunSpec.of(SETTINGS), How(out=tmp_path, executor="serial"))
    with pytest.raises(StopError):
        run(RunSpec.of({**SETTINGS, "seed": 1}), How(out=tmp_path, executor="serial"), stop)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    return tmp_path


def listed(out):
    return json.loads(CliRunner().invoke(fedbench, ["runs", "--out", str(out), "--json"]).stdout)


def clean(out, *flags):
    return CliRunner().invoke(fedbench, ["runs", "clean", "--out", str(out), *flags])


def test_runs_are_listed_with_state_and_score(out) -> None:
    rows = {row["seed"]: row for row in listed(out)}
    assert (rows[0]["state"], rows[0]["rounds"], rows[0]["method"]) == ("finished", 3, "local")
    assert 0 <= rows[0]["score"] <= 1
    assert (rows[1]["state"], rows[1]["rounds"], rows[1]["score"]) == ("interrupted", 1, None)
    text = CliRunner().invoke(fedbench, ["runs", "--out", str(out)]).stdout
    assert len(text.splitlines()) == 3


def test_clean_removes_what_interrupted_runs_wrote_and_nothing_else(out) -> None:
    (interrupted,) = (row["folder"] for row in listed(out) if row["state"] == "interrupted")
    assert clean(out).exit_code == 2
    assert len(listed(out)) == 2
    assert clean(out, "--yes").exit_code == 0
    assert [row["state"] for row in listed(out)] == ["finished"]
    assert (out / "mine" / "notes.txt").read_text() == "mine"
    assert not any(path.name in interrupted for path in out.iterdir())


def test_clean_leaves_the_files_of_a_user_in_a_run_folder(out) -> None:
    (interrupted,) = (row["folder"] for row in listed(out) if row["state"] == "interrupted")
    notes = out / interrupted / "notes.txt"
    notes.write_text("mine")
    assert clean(out, "--yes").exit_code == 0
    assert [path.name for path in notes.parent.iterdir()] == ["notes.txt"]


def test_clean_leaves_a_run_that_is_computed(out) -> None:
    (interrupted,) = (row["folder"] for row in listed(out) if row["state"] == "interrupted")
    with claimed(out / interrupted):
        assert {row["state"] for row in listed(out)} == {"finished", "running"}
        assert clean(out, "--yes").exit_code == 0
    assert len(listed(out)) == 2


def test_folder_that_does_not_exist_is_refused(tmp_path) -> None:
    assert CliRunner().invoke(fedbench, ["runs", "--out", str(tmp_path / "none")]).exit_code == 2


def test_show_prints_the_scores_of_a_run_and_of_each_class(out) -> None:
    (finished,) = (row["folder"] for row in listed(out) if row["state"] == "finished")
    text = CliRunner().invoke(fedbench, ["show", str(out / finished)]).stdout
    record = CliRunner().invoke(fedbench, ["show", str(out / finished), "--json"]).stdout
    score = json.loads(record)["test"]["metrics"]["personalization"]
    assert f"{score:.3f}" in text
    assert [line.split()[:2] for line in text.splitlines()[-3:]] == [["kind", "0"], ["kind", "1"], ["kind", "2"]]


def test_show_prints_the_confusion_matrix_as_json(out) -> None:
    (finished,) = (row["folder"] for row in listed(out) if row["state"] == "finished")
    shown = json.loads(CliRunner().invoke(fedbench, ["show", str(out / finished), "--json", "--client", "1"]).stdout)
    correct = np.diagonal(shown["confusion"])
    assert correct.tolist() == [round(one["recall"] * one["images"]) for one in shown["classes"]]
    assert sum(map(sum, shown["confusion"])) == shown["data"]["images"]["test"]
    assert CliRunner().invoke(fedbench, ["show", str(out / finished), "--json", "--client", "9"]).exit_code == 2
