"""Kill a run again and again at random instants, resume it, and compare it with an undisturbed one.

    python tests/kills.py [KILLS] [FLAG OF fedbench run ...]

The whole process group gets SIGKILL. Afterwards the record (but for `how`) and the rows must be the same, at most one
round may have been redone after each kill, and no process and no temporary file may be left.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from fedbench_core.records.record import comparable, read_record

DEFAULT = [
    "--method",
    "fedavg",
    "--backbones",
    "mobilenetv3_small_050",
    "--rounds",
    "6",
    "--steps",
    "4",
    "--clients",
    "4",
    "--dataset",
    "phantom",
]


def scientific(folder: Path) -> dict[str, str]:
    """What must not depend on how a run was computed."""
    record = comparable(read_record(folder))
    rows = {name: (folder / name).read_text() for name in ("clients.csv", "messages.csv")}
    models = {path.name: str(path.read_bytes()) for path in sorted((folder / "models").glob("*"))}
    return {"record": json.dumps(record, sort_keys=True), **rows, **models}


def start(command: list[str], env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """A command in a process group of its own."""
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=env)


def committed(folder: Path) -> int:
    """How many rounds the journal says are done."""
    for name in ("journal.json", "journal.previous.json"):
        path = folder / "state" / name
        if path.exists():
            return int(json.loads(json.loads(path.read_text())["content"])["progress"]["round"])
    return 0


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """End a command and all it has started; whatever is still there after a second is a leftover."""
    group = process.pid
    os.killpg(group, signal.SIGKILL)
    process.communicate()
    deadline = time.monotonic() + 10
    while left := [p for p in psutil.process_iter() if _group(p) == group and p.status() != psutil.STATUS_ZOMBIE]:
        assert time.monotonic() < deadline, f"left over: {left}"
        time.sleep(0.05)


def _group(process: psutil.Process) -> int | None:
    try:
        return os.getpgid(process.pid)
    except ProcessLookupError:
        return None


def survive(flags: list[str], kills: int, out: Path, seed: int = 0, env: dict[str, str] | None = None) -> list[float]:
    """Kill a run `kills` times; AssertionError if the outcome differs. Gives the instants, in seconds after a start."""
    plain = start(["fedbench", "run", *flags, "--out", str(out / "plain")], env)
    begun = time.monotonic()
    _, said = plain.communicate()
    assert plain.returncode == 0, said.decode()
    length = time.monotonic() - begun
    instants, rng = [], random.Random(seed)  # noqa: S311 - no secret
    for _ in range(kills):
        folders = list((out / "killed").glob("*"))
        command = ["fedbench", "resume", str(folders[0])] if _begun(folders) else ["fedbench", "run", *flags]
        command += [] if command[1] == "resume" else ["--out", str(out / "killed")]
        before = committed(folders[0]) if folders else 0
        process = start(command, env)
        instants.append(rng.uniform(0, length))
        time.sleep(instants[-1])
        ended = process.poll() is not None
        process.communicate() if ended else kill_group(process)
        folders = list((out / "killed").glob("*"))
        finished = ended or (folders and (folders[0] / "record.json").exists())
        after = committed(folders[0]) if folders else 0
        assert finished or after >= before, f"round {after} after round {before}: more than one round was lost"
        if finished and (folders[0] / "record.json").exists():
            _compare(out)
            for path in sorted((out / "killed").rglob("*"), reverse=True):
                path.unlink() if path.is_file() else path.rmdir()
    last = start(["fedbench", "run", *flags, "--out", str(out / "killed")], env)
    _, said = last.communicate()
    assert last.returncode == 0, said.decode()
    _compare(out)
    return instants


def _begun(folders: list[Path]) -> bool:
    return bool(folders) and ((folders[0] / "state" / "journal.json").exists() or (folders[0] / "record.json").exists())


def _compare(out: Path) -> None:
    (plain,), (killed,) = list((out / "plain").glob("*")), list((out / "killed").glob("*"))
    assert scientific(plain) == scientific(killed)
    names = sorted(path.name for path in killed.iterdir() if path.name not in (".lock", ".owner"))
    assert names == ["clients.csv", "messages.csv", "models", "record.json"], names


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        count = int(sys.argv[1]) if len(sys.argv) > 1 else 30
        moments = survive(sys.argv[2:] or DEFAULT, count, Path(folder))
        print(f"killed {count} times, {', '.join(f'{m:.2f}' for m in moments)} s after a start: the same record")  # noqa: T201
