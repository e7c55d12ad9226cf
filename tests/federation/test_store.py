import json
import subprocess
import sys

import pytest

from fedbench_core.api import RunError
from fedbench_core.federation.files import File, read, replace_file, write
from fedbench_core.federation.store import Store, was_begun


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state"


def _contents(folder) -> set[bytes]:
    return {path.read_bytes() for path in folder.glob("*.safetensors")}


def test_the_newest_generation_is_the_one_there(folder) -> None:
    store = Store(folder)
    assert store.get(("server", "", "")) is None
    store.put(("server", "", ""), b"one", 0, 0)
    store.put(("server", "", ""), b"two", 0, 1)
    assert read(store.get(("server", "", ""))) == b"two"
    assert _contents(folder) == {b"two"}


def test_a_committed_generation_stays_until_it_is_no_longer_needed(folder) -> None:
    store = Store(folder)
    store.put(("server", "", ""), b"round 0", 0, 0)
    store.put(("client-1", "", ""), b"only once", 0, 0)
    store.commit({})
    store.put(("server", "", ""), b"round 1", 1, 0)
    assert _contents(folder) >= {b"round 0", b"round 1"}
    for number in range(1, 6):
        store.put(("server", "", ""), f"round {number}".encode(), number, 0)
        store.commit({})
    kept = _contents(folder)
    assert {b"round 5", b"only once"} <= kept
    assert len(kept) <= 3, "old generations pile up"


def test_a_resume_finds_the_last_commit_and_sweeps_the_rest(folder) -> None:
    store = Store(folder)
    store.put(("server", "", ""), b"round 0", 0, 0)
    store.commit({"progress": {"round": 1}})
    store.put(("server", "", ""), b"round 1, never committed", 1, 0)
    (folder / ".server.fedbench-0123abcd.part").write_bytes(b"torn")
    again = Store(folder)
    assert again.resume()["progress"] == {"round": 1}
    assert read(again.get(("server", "", ""))) == b"round 0"
    assert _contents(folder) == {b"round 0"}
    assert not list(folder.glob(".*"))


def test_a_commit_that_is_cut_off_between_its_renames_leaves_the_one_before(folder, monkeypatch) -> None:
    store = Store(folder)
    store.put(("server", "", ""), b"round 0", 0, 0)
    store.commit({"progress": {"round": 1}})
    store.put(("server", "", ""), b"round 1", 1, 0)

    def cut_off(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("fedbench_core.federation.store.replace_file", cut_off)
    with pytest.raises(KeyboardInterrupt):
        store.commit({"progress": {"round": 2}})
    assert store.begun
    assert was_begun(folder)
    again = Store(folder)
    assert again.resume()["progress"] == {"round": 1}
    assert read(again.get(("server", "", ""))) == b"round 0"


def test_a_folder_without_a_commit_has_nothing_to_resume(folder) -> None:
    Store(folder).put("server", b"round 0", 0, 0)
    again = Store(folder)
    assert again.resume() is None
    assert again.get(("server", "", "")) is None


def test_a_cleared_store_leaves_nothing(folder) -> None:
    store = Store(folder)
    store.put(("server", "", ""), b"round 0", 0, 0)
    store.commit({})
    store.clear()
    assert not folder.exists()


def test_a_file_that_is_not_what_was_written_is_damaged(tmp_path) -> None:
    file = write(tmp_path / "server", b"weights")
    assert read(file) == b"weights"
    (tmp_path / "server").write_bytes(b"weightz")
    with pytest.raises(RunError, match="server is damaged"):
        read(file)
    with pytest.raises(RunError, match="could not be read: No such file"):
        read(File(tmp_path / "gone", file.digest))


FULL_DISK = """
import resource, sys
from pathlib import Path
from fedbench_core.api import RunError
from fedbench_core.federation.files import replace_file
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    replace_file(Path(sys.argv[1]), b"x" * 1000)
except RunError as error:
    print(error)
"""


def test_a_write_that_fails_half_way_leaves_the_old_file_and_nothing_else(tmp_path) -> None:
    path = tmp_path / "record.json"
    replace_file(path, json.dumps({"old": 1}).encode(), durable=True)
    done = subprocess.run([sys.executable, "-c", FULL_DISK, path], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{path} could not be written: File too large.")
    assert [file.name for file in tmp_path.iterdir()] == ["record.json"]
    assert path.read_text() == '{"old": 1}'
