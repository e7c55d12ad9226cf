import fcntl
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest

from fedbench_core import RunSpec, run
from fedbench_core.api import RunError
from fedbench_core.federation.store import _sealed, read_journal
from fedbench_core.records.folder import InUseError, claimed, folder_of, in_use
from fedbench_core.records.runs import runs
from fedbench_core.runner import How, resume

CONTENDERS = """
import os, sys
from pathlib import Path
from fedbench_core.records.folder import InUseError, claimed

folder, marker, entries = Path(sys.argv[1]) / "out" / "run", Path(sys.argv[1]) / "marker", int(sys.argv[2])

def contend():
    entered = overlaps = 0
    while entered < entries:
        try:
            with claimed(folder):
                entered += 1
                try:
                    os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    overlaps += 1
                else:
                    os.unlink(marker)
        except InUseError:
            os.sched_yield()
    return overlaps

children = []
for _ in range(3):
    reader, writer = os.pipe()
    if not os.fork():
        os.write(writer, str(contend()).encode())
        os._exit(0)
    os.close(writer)
    children.append(reader)
print(*(os.read(reader, 20).decode() for reader in children))
if not (killed := os.fork()):
    claimed(folder).__enter__()
    os.kill(os.getpid(), 9)
os.waitpid(killed, 0)
with claimed(folder):
    print(list(folder.iterdir()))
print(folder.exists())
held = claimed(folder)
held.__enter__()
if not os.fork():
    held.__exit__(None, None, None)
    os._exit(0)
os.wait()
try:
    claimed(folder).__enter__()
except InUseError:
    print("held")
reader, writer = os.pipe()
if not os.fork():
    os.close(writer)
    os.read(reader, 1)
    os._exit(0)
held.__exit__(None, None, None)
with claimed(folder):
    print("free")
"""
SPEC = {"method": "fedavg", "backbones": "tiny", "dataset": "spots", "clients": 2, "rounds": 3, "steps": 1}


class StopError(Exception):
    pass


def stop(event) -> None:
    if event.done == 2:
        raise StopError


@pytest.fixture
def how(kit, tmp_path) -> How:  # noqa: ARG001  # installed
    return How(out=tmp_path / "out", executor="serial")


@pytest.fixture
def folder(how) -> Path:
    """Where the run will be; it is not there yet."""
    from fedbench_core.federation.assembly import resolve  # noqa: PLC0415  # the plugin is installed by now

    return folder_of(resolve(RunSpec.of(SPEC)).spec, how.out, fresh=False)


@pytest.fixture
def stopped(how, folder) -> Path:
    with pytest.raises(StopError):
        run(RunSpec.of(SPEC), how, stop)
    return folder


def test_folder_is_held_by_one_process_at_a_time_until_it_ends(tmp_path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CONTENDERS, tmp_path, "1000"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "0 0 0\n[]\nFalse\nheld\nfree\n"


def test_folder_in_use_is_refused_or_waited_for(tmp_path) -> None:
    seen = []

    def enter() -> None:
        with claimed(tmp_path / "run", wait=True):
            seen.append((tmp_path / "run" / "done").exists())

    waiting = Thread(target=enter)
    with claimed(tmp_path / "run"):
        with pytest.raises(InUseError, match="in use"), claimed(tmp_path / "run"):
            pass
        waiting.start()
        (tmp_path / "run" / "done").touch()
    waiting.join()
    assert seen == [True]


def test_locked_folder_holds_no_file_and_a_new_one_that_stays_empty_goes(tmp_path) -> None:
    with claimed(tmp_path / "a" / "b"):
        assert list((tmp_path / "a" / "b").iterdir()) == []
    assert list(tmp_path.iterdir()) == []


FOREIGN = (
    "notes.txt",
    ".draft.part",
    "weights.1.0.safetensors",
    "state/notes.txt",
    "state/.x.part",
    "state/a.1.0.part",
)


def test_files_of_others_stay(how, folder) -> None:
    for name in FOREIGN:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine")
    with pytest.raises(StopError):
        run(RunSpec.of(SPEC), how, stop)
    assert resume(folder, how).record["test"]
    assert {name for name in FOREIGN if (folder / name).read_text() == "mine"} == set(FOREIGN)


@pytest.mark.parametrize("name", ["clients.csv", "messages.csv"])
def test_table_that_no_run_wrote_is_not_overwritten(name, how, folder) -> None:
    folder.mkdir(parents=True)
    (folder / name).write_text("mine")
    with pytest.raises(RunError, match=name):
        run(RunSpec.of(SPEC), how)
    assert [(path.name, path.read_text()) for path in folder.iterdir()] == [(name, "mine")]


@pytest.mark.parametrize("name", ["", "state", "state/.models.fedbench", "clients.csv", "messages.csv", "record.json"])
def test_link_in_a_run_folder_is_refused(name, how, folder, tmp_path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "notes.fedbench.safetensors").write_text("mine")
    link = folder / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(tmp_path / "nowhere" if link.suffix in (".csv", ".json") else elsewhere)
    with pytest.raises(RunError, match=f"{link} is a link to {tmp_path}"):
        run(RunSpec.of(SPEC), how)
    assert [path.read_text() for path in elsewhere.iterdir()] == ["mine"]
    assert not (tmp_path / "nowhere").exists()
    assert link.is_symlink()


def test_question_whether_a_folder_is_in_use_creates_nothing_and_stops_no_run(tmp_path, monkeypatch) -> None:
    assert not in_use(tmp_path / "run")
    assert not (tmp_path / "run").exists()
    (tmp_path / "run").mkdir()
    asking = os.open(tmp_path / "run", os.O_RDONLY)
    fcntl.flock(asking, fcntl.LOCK_SH)
    assert not in_use(tmp_path / "run")
    monkeypatch.setattr(time, "sleep", lambda _: os.close(asking))
    with claimed(tmp_path / "run"):
        assert in_use(tmp_path / "run")


def test_link_beside_a_record_is_left_alone(how, folder, tmp_path) -> None:
    record = run(RunSpec.of(SPEC), how).record
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.fedbench.safetensors").write_text("mine")
    (folder / "state").symlink_to(tmp_path / "elsewhere")
    assert resume(folder, how).record == record
    assert (tmp_path / "elsewhere" / "a.fedbench.safetensors").read_text() == "mine"


@pytest.mark.parametrize("name", ["../../precious", "../mine.fedbench.safetensors", "/precious", "notes.txt"])
def test_journal_that_names_a_file_of_others_is_damaged(name, how, stopped) -> None:
    for journal in (stopped / "state").glob("journal*"):
        contents = read_journal(stopped / "state")
        files = [[*key, name, digest] for *key, _, digest in contents["files"]]
        journal.write_bytes(_sealed({**contents, "files": files}))
    with pytest.raises(RunError, match="can't be resumed"):
        resume(stopped, how)


UNNAMED = {"files": [["client", None, "", "client-0.1.0.fedbench.safetensors", "0" * 64]]}


@pytest.mark.parametrize("contents", [[], {}, {"files": 3}, {"files": [[1, 2]]}, {"files": [[1, 2, 3, 4, 5]]}, UNNAMED])
def test_journal_with_other_contents_is_damaged(contents, how, stopped) -> None:
    for journal in (stopped / "state").glob("journal*"):
        journal.write_bytes(_sealed(contents))
    with pytest.raises(RunError):
        resume(stopped, how)


WRONG_PROGRESS = {
    "round": "x",
    "totals": {"bytes_up": "x"},
    "turns": {"0": [1]},
    "curve": [{}],
    "selected": {"round": 0, "validation": "0.5", "metrics": None},
    "models": {"last": {"round": 0}},
    "recent": {"curve": {"0": {"auc": "high"}}, "undefined": {}, "test": {}},
    "tables": {"clients.csv": 5},
    "more": 1,
}


def test_journal_with_other_progress_is_refused_by_the_name_of_the_value(how, stopped) -> None:
    contents = read_journal(stopped / "state")
    for name, value in WRONG_PROGRESS.items():
        for journal in (stopped / "state").glob("journal*"):
            journal.write_bytes(_sealed({**contents, "progress": {**contents["progress"], name: value}}))
        with pytest.raises(RunError, match=rf"can't be resumed.*progress.*{name}"):
            resume(stopped, how)


def test_folder_that_is_removed_in_mid_run_ends_it_with_the_path(how, folder) -> None:
    def remove(event) -> None:
        if event.done == 2:
            shutil.rmtree(folder)

    with pytest.raises(RunError, match=f"{folder}.* could not be written: No such file"):
        run(RunSpec.of(SPEC), how, remove)
    assert not folder.exists()


@pytest.mark.usefixtures("unprivileged")
@pytest.mark.parametrize("name", ["", "state", "clients.csv"])
def test_permission_that_goes_away_in_mid_run_ends_it_with_the_path(name, how, folder) -> None:
    def withdraw(event) -> None:
        if (event.round, event.turns) == (1, 1):
            (folder / name).chmod(0)

    with pytest.raises(RunError, match=f"{folder}.*: Permission denied"):
        run(RunSpec.of(SPEC), how, withdraw)
    with pytest.raises(RunError, match=f"{folder}.*: Permission denied"):
        resume(folder, how)
    assert [row.state for row in runs(how.out)] == ["interrupted" if name == "clients.csv" else "damaged"]
    (folder / name).chmod(0o700)
    assert resume(folder, how).record["test"] == run(RunSpec.of(SPEC), replace(how, fresh=True)).record["test"]
    assert not list(folder.rglob("*.part"))


@pytest.mark.usefixtures("unprivileged")
def test_state_that_can_not_be_removed_does_not_hide_the_record(how, folder) -> None:
    record = run(RunSpec.of(SPEC), how).record
    (folder / "state").mkdir()
    (folder / "state" / "client-0.1.0.fedbench.safetensors").touch()
    (folder / "state").chmod(0o500)
    assert resume(folder, how).record == record
    (folder / "state").chmod(0o700)
    assert resume(folder, how).record == record
    assert not (folder / "state").exists()


def _remount(disk: Path, mode: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{mode}", disk], check=True)


def test_write_permission_that_goes_away_in_mid_run_ends_it_with_the_path(kit, tmp_path) -> None:  # noqa: ARG001  # installed
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        sys.platform != "linux"
        or subprocess.run(["mount", "-t", "tmpfs", "tmpfs", disk], capture_output=True, check=False).returncode
    ):
        pytest.skip("a file system can't be mounted here")
    how = How(out=disk / "out", executor="serial")

    def withdraw(event) -> None:
        if (event.done, event.turns) == (1, 1):
            _remount(disk, "ro")

    try:
        with pytest.raises(RunError, match=f"{disk}/out/.* could not be written: Read-only file system"):
            run(RunSpec.of(SPEC), how, withdraw)
        (folder,) = (disk / "out").iterdir()
        with pytest.raises(RunError, match=f"{disk}/out/.* could not be written: Read-only file system"):
            resume(folder, how)
        _remount(disk, "rw")
        finished = resume(folder, how)
        expected = run(RunSpec.of(SPEC), How(out=tmp_path / "whole", executor="serial"))
        assert finished.record["test"] == expected.record["test"]
        _remount(disk, "ro")
        assert resume(folder, how).record == finished.record
    finally:
        subprocess.run(["umount", str(disk)], check=True)
