import hashlib
import subprocess
import sys

import pytest

from fedbench_core.api import RunError
from fedbench_core.federation.tables import Table

FIXED = ("round", "client")


def test_a_file_holds_whole_rounds_only(tmp_path) -> None:
    path = tmp_path / "clients.csv"
    table = Table(path, FIXED)
    table.add({"round": 0, "client": 1}, {"steps": 2, "loss": 0.5})
    assert not path.exists()
    table.flush()
    table.add({"round": 1, "client": 1}, {"loss": 0.25, "steps": 2})
    assert path.read_text() == "round,client,loss,steps\n0,1,0.5,2\n"
    assert table.flush() == (len(path.read_bytes()), hashlib.sha256(path.read_bytes()).hexdigest())
    assert path.read_text() == "round,client,loss,steps\n0,1,0.5,2\n1,1,0.25,2\n"


def test_an_offset_cuts_back_and_goes_on(tmp_path) -> None:
    path = tmp_path / "clients.csv"
    table = Table(path, FIXED)
    table.add({"round": 0, "client": 1}, {"loss": 0.5})
    offset = table.flush()
    table.add({"round": 1, "client": 1}, {"loss": 9.0})
    table.flush()
    again = Table(path, FIXED, offset)
    again.add({"round": 1, "client": 1}, {"loss": 0.25})
    again.flush()
    assert path.read_text() == "round,client,loss\n0,1,0.5\n1,1,0.25\n"
    with pytest.raises(RunError, match="loss, mood"):
        again.add({"round": 2, "client": 1}, {"mood": 1})


def test_a_new_table_starts_over(tmp_path) -> None:
    path = tmp_path / "clients.csv"
    path.write_text("rubbish\n")
    table = Table(path, FIXED)
    table.add({"round": 0, "client": 1})
    table.flush()
    assert path.read_text() == "round,client\n0,1\n"


def test_metrics_are_the_same_each_time(tmp_path) -> None:
    table = Table(tmp_path / "clients.csv", FIXED)
    table.add({"round": 0, "client": 0}, {"loss": 1})
    with pytest.raises(RunError, match="differ from those of earlier turns in mood"):
        table.add({"round": 0, "client": 1}, {"loss": 1, "mood": 2})


def test_phases_may_have_metrics_of_their_own(tmp_path) -> None:
    path, fixed = tmp_path / "clients.csv", ("round", "phase")
    table = Table(path, fixed)
    for round_ in range(2):
        table.add({"round": round_, "phase": 0}, kind="say")
        table.add({"round": round_, "phase": 1}, {"loss": 0.5}, kind="train")
        table.flush()
    assert path.read_text() == "round,phase,loss\n0,0,\n0,1,0.5\n1,0,\n1,1,0.5\n"
    for kind, metrics in (("say", {"loss": 1}), ("train", {}), ("new", {"mood": 1}), ("taken", {"round": 1})):
        with pytest.raises(RunError, match=r"loss|mood|round"):
            table.add({"round": 2, "phase": 0}, metrics, kind)


def test_a_file_shorter_than_its_offset_is_told(tmp_path) -> None:
    with pytest.raises(RunError, match=r"clients\.csv is not what it was"):
        Table(tmp_path / "clients.csv", FIXED, (10, "0"))


def test_a_table_without_rows_has_columns_in_the_end(tmp_path) -> None:
    path = tmp_path / "messages.csv"
    table = Table(path, FIXED)
    table.flush()
    assert path.read_text() == ""
    table.flush(last=True)
    assert path.read_text() == "round,client\n"


FULL_DISK = """
import resource, sys
from pathlib import Path
from fedbench_core.api import RunError
from fedbench_core.federation.tables import Table
table = Table(Path(sys.argv[1]), ("round", "client"))
table.add({"round": 0, "client": 1})
table.flush()
for _ in range(50_000):
    table.add({"round": 1, "client": 1})
resource.setrlimit(resource.RLIMIT_FSIZE, (50_001, 50_001))
try:
    table.flush()
except RunError as error:
    print(error)
"""


def test_a_full_disk_leaves_no_half_row(tmp_path) -> None:
    path = tmp_path / "clients.csv"
    done = subprocess.run([sys.executable, "-c", FULL_DISK, path], capture_output=True, text=True, check=True)
    assert done.stdout == f"{path} could not be written: File too large.\n"
    assert path.read_text() == "round,client\n0,1\n"


def test_what_cannot_be_written_is_told(tmp_path) -> None:
    table = Table(tmp_path / "missing" / "clients.csv", FIXED)
    table.add({"round": 0, "client": 0})
    with pytest.raises(RunError, match=r"clients\.csv could not be written: No such file"):
        table.flush()
