"""An interrupted run is resumed from its last commit, or refused with the reason."""

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from fedbench_core import RunSpec, run
from fedbench_core.api import RequestError, RunError
from fedbench_core.runner import How, resume

SMALL = {"method": "kit-ring", "backbones": "tiny,wide", "dataset": "spots", "clients": 4, "rounds": 5, "steps": 2}
SMALL |= {"optimizer": "sgd", "schedule": "constant"}


class StopError(Exception):
    """Ends a run early."""


def stop_after(rounds: int):
    def watch(event) -> None:
        if event.done >= rounds:
            raise StopError

    return watch


@pytest.fixture
def stopped(kit, tmp_path) -> Path:  # noqa: ARG001  # its parts must be installed
    """The folder of a run with three committed rounds of five."""
    with pytest.raises(StopError):
        run(RunSpec.of(SMALL), How(out=tmp_path, executor="serial"), stop_after(4))
    (folder,) = tmp_path.iterdir()
    return folder


@pytest.fixture(scope="module")
def whole(kit, tmp_path_factory) -> dict:  # noqa: ARG001  # its parts must be installed
    """What an undisturbed run records."""
    finished = run(RunSpec.of(SMALL), How(out=tmp_path_factory.mktemp("whole"), executor="serial"))
    return {"test": finished.record["test"], "rows": (finished.folder / "clients.csv").read_text()}


def same(finished, whole: dict) -> bool:
    return {"test": finished.record["test"], "rows": (finished.folder / "clients.csv").read_text()} == whole


def test_the_same_command_goes_on(stopped, whole) -> None:
    rounds = []
    finished = run(
        RunSpec.of(SMALL),
        How(out=stopped.parent, executor="serial"),
        lambda event: event.stage or rounds.append(event.done),
    )
    assert finished.folder == stopped
    assert min(rounds) == 3
    assert same(finished, whole)
    assert not (stopped / "state").exists()


def test_resume_needs_only_the_folder_even_under_another_name(stopped, whole, tmp_path) -> None:
    moved = stopped.rename(tmp_path / "elsewhere")
    assert same(resume(moved, How(workers=2)), whole)


def test_a_finished_run_is_read_and_not_repeated(kit, tmp_path) -> None:  # noqa: ARG001  # installed
    how = How(out=tmp_path, executor="serial")
    first = run(RunSpec.of(SMALL), how)
    written = (first.folder / "record.json").stat().st_mtime_ns
    again = run(RunSpec.of(SMALL), how)
    assert again.before
    assert again.record == first.record
    assert (first.folder / "record.json").stat().st_mtime_ns == written
    fresh = run(RunSpec.of(SMALL), How(out=tmp_path, executor="serial", fresh=True))
    assert fresh.folder != first.folder


def test_there_must_be_something_to_resume(tmp_path) -> None:
    with pytest.raises(RequestError, match="No run was started"):
        resume(tmp_path)


def _flip(path: Path) -> None:
    blob = bytearray(path.read_bytes())
    blob[len(blob) // 2] ^= 1
    path.write_bytes(blob)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


DAMAGE = {"flipped": _flip, "truncated": _cut, "missing": Path.unlink}


def newest(folder: Path, key: str) -> Path:
    """The committed file of a client's state, or of what an inbox published."""
    journal = json.loads(json.loads((folder / "state" / "journal.json").read_text())["content"])
    kind, _, node = key.replace("inbox", "published").partition("-")
    return next(folder / "state" / name for a, b, _, name, _ in journal["files"] if (a, b) == (kind, node))


@pytest.mark.parametrize(
    "damage", [pytest.param(name, marks=() if name == "flipped" else pytest.mark.slow) for name in DAMAGE]
)
@pytest.mark.parametrize("what", ["client-2", "inbox-1", "journal"])
def test_damage_falls_back_to_the_commit_before(damage, what, stopped, whole) -> None:
    DAMAGE[damage](stopped / "state" / "journal.json" if what == "journal" else newest(stopped, what))
    assert same(resume(stopped, How(executor="serial")), whole)


def test_a_resume_keeps_the_commit_before(stopped, whole) -> None:
    with pytest.raises(StopError):
        resume(stopped, How(executor="serial"), stop_after(0))
    _flip(newest(stopped, "client-2"))
    assert same(resume(stopped, How(executor="serial")), whole)


def test_damage_to_both_commits_is_refused_by_name(stopped) -> None:
    hit = newest(stopped, "client-2")
    _flip(hit)
    _flip(stopped / "state" / "journal.previous.json")
    with pytest.raises(RunError, match=rf"can't be resumed.*{hit.name}.*--fresh"):
        resume(stopped, How(executor="serial"))


@pytest.mark.parametrize("damage", [*DAMAGE.values(), lambda path: path.write_text("")], ids=[*DAMAGE, "emptied"])
def test_damaged_rows_are_noticed(damage, stopped) -> None:
    damage(stopped / "clients.csv")
    with pytest.raises(RunError, match=r"clients\.csv is not what it was"):
        resume(stopped, How(executor="serial"))


def test_journals_that_are_none_are_damage(stopped) -> None:
    for name in ("journal.json", "journal.previous.json"):
        (stopped / "state" / name).write_text("null")
    for again in (lambda: resume(stopped), lambda: run(RunSpec.of(SMALL), How(out=stopped.parent, executor="serial"))):
        with pytest.raises(RunError, match="can't be resumed"):
            again()


def test_what_is_done_stays_done_and_what_a_kill_left_beside_it_goes(kit, tmp_path) -> None:  # noqa: ARG001  # installed
    how = How(out=tmp_path, executor="serial")
    first = run(RunSpec.of(SMALL), how)
    (first.folder / "state").mkdir()
    (first.folder / "state" / "server.4.0.fedbench.safetensors").write_bytes(b"left")
    assert run(RunSpec.of(SMALL), how).before
    assert sorted(path.name for path in first.folder.iterdir()) == [
        "clients.csv",
        "messages.csv",
        "models",
        "record.json",
    ]


def test_an_interrupt_before_the_first_commit_does_not_promise_a_resume(kit, tmp_path, monkeypatch) -> None:  # noqa: ARG001
    def interrupt(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fedbench_core.runner.Engine", interrupt)
    with pytest.raises(KeyboardInterrupt, match="the same command"):
        run(RunSpec.of(SMALL), How(out=tmp_path, executor="serial"))


def _edit_journal(folder: Path, **changes: object) -> None:
    """A journal as another version of something would have written it."""
    from fedbench_core.federation.store import _sealed, read_journal  # noqa: PLC0415  # the real seal

    for name in ("journal.json", "journal.previous.json"):
        journal = read_journal(folder / "state")
        (folder / "state" / name).write_bytes(_sealed({**journal, **changes}))


def test_other_versions_are_refused_with_the_difference(stopped) -> None:
    journal = json.loads(json.loads((stopped / "state" / "journal.json").read_text())["content"])
    _edit_journal(stopped, versions={**journal["versions"], "fedbench-kit": "0.9"})
    with pytest.raises(RunError, match=r"started with fedbench-kit 0\.9 \(now 1\.0\)"):
        resume(stopped, How(executor="serial"))


def test_another_spec_is_refused_with_the_difference(stopped) -> None:
    journal = json.loads(json.loads((stopped / "state" / "journal.json").read_text())["content"])
    _edit_journal(stopped, spec={**journal["spec"], "lr": 0.5})
    with pytest.raises(RunError, match=r"lr 0\.5 \(now 0\.02\)"):
        run(RunSpec.of(SMALL), How(out=stopped.parent, executor="serial"))


def test_a_folder_belongs_to_one_process_at_a_time(kit, tmp_path) -> None:  # noqa: ARG001  # installed
    seen = []

    def watch(event) -> None:
        if event.done == 1 and not seen:
            with pytest.raises(RunError, match="process") as error:
                run(RunSpec.of(SMALL), How(out=tmp_path, executor="serial"))
            seen.append(str(error.value))

    run(RunSpec.of(SMALL), How(out=tmp_path, executor="serial"), watch)
    assert seen


def _small_disk(folder: Path, kilobytes: int) -> bool:
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    return sys.platform == "linux" and subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("executor", ["serial", "processes"])
def test_a_full_disk_stops_the_run_at_its_last_commit(executor, kit, whole, tmp_path) -> None:  # noqa: ARG001
    disk = tmp_path / "disk"
    if not _small_disk(disk, 512):
        pytest.skip("a small file system can't be mounted here")
    ballast = disk / "ballast"

    def watch(event) -> None:
        if event.done == 3 and not ballast.exists():
            with suppress(OSError), ballast.open("wb", buffering=0) as stream:
                while stream.write(bytes(256)):
                    continue

    try:
        with pytest.raises(RunError, match="No space left"):
            run(RunSpec.of(SMALL), How(out=disk / "runs", executor=executor, workers=2), watch)
        ballast.unlink()
        (folder,) = (disk / "runs").iterdir()
        assert same(resume(folder, How(executor=executor, workers=2)), whole)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def _own_file(path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    arrays = {}
    for split in ("train", "val", "test"):
        arrays[f"{split}_images"] = rng.integers(0, 255, (24, 8, 8, 3), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(24, dtype=np.uint8)[:, None] % 3
    np.savez(path, **arrays)


OWN = {**SMALL, "method": "fedavg", "backbones": "tiny", "partitioner": "iid"}


def test_a_file_that_changed_is_not_answered_with_old_scores(kit, tmp_path) -> None:  # noqa: ARG001  # installed
    _own_file(tmp_path / "own.npz", 0)
    how = How(out=tmp_path / "runs", executor="serial", cache=tmp_path / "cache", base=tmp_path)
    spec = RunSpec.of({**OWN, "dataset": "npz:own.npz"})
    first = run(spec, how)
    _own_file(tmp_path / "own.npz", 1)
    with pytest.raises(RequestError, match=r"was recorded with data .* \(now .*--fresh"):
        run(spec, how)
    assert resume(first.folder).record == first.record


def test_a_resume_finds_a_relative_file_and_refuses_a_changed_one(kit, tmp_path) -> None:  # noqa: ARG001  # installed
    _own_file(tmp_path / "own.npz", 0)
    how = How(out=tmp_path / "runs", executor="serial", cache=tmp_path / "cache", base=tmp_path)
    with pytest.raises(StopError):
        run(RunSpec.of({**OWN, "dataset": "npz:own.npz"}), how, stop_after(3))
    (folder,) = (tmp_path / "runs").iterdir()
    again = How(executor="serial", cache=tmp_path / "cache")
    _own_file(tmp_path / "own.npz", 1)
    with pytest.raises(RunError, match="started with data"):
        resume(folder, again)
    _own_file(tmp_path / "own.npz", 0)
    assert resume(folder, again).record["test"]["round"] == 4
