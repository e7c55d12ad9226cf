"""Kill a run again and again at random instants, resume it, and compare it with an undisturbed one.

    python -m tests.kills [--kills 30] [--order 0] [--executor ray] [--workers 2] [FLAG OF fedbench run ...]

The instants are drawn from the time that an undisturbed run takes, the shortest seen so far. A run that ended before
its instant is compared, and counts as no kill. On Ray, the undisturbed run is compared with a serial one, too. The
whole process group gets SIGKILL. Afterwards the record (but for `how`) and the rows must be the same, at most one round
may have been redone after each kill, and no process and no temporary file may be left. A cluster that Ray could not
start is started again.
"""

import argparse
import json
import math
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from fedbench_core.records.record import comparable, read_record

DEFAULT = (
    "--method fedavg --backbones mobilenetv3_small_050 --rounds 6 --steps 4 --clients 4 --dataset phantom --limit 200"
)
TABLES = ("clients.csv", "messages.csv")
EARLY = 0.25
"""Share of the kills before the first commit of an undisturbed run: a start takes longer than a round."""
ENDED = "had ended"
NO_RAY = "Ray could not be started"
STARTS = 3
"""How often a command is started in which Ray could not be started: beside other work it may take too long."""


def scientific(folder: Path) -> dict[str, str]:
    """What must not depend on how a run was computed."""
    record = comparable(read_record(folder))
    rows = {name: (folder / name).read_text() for name in TABLES}
    models = {path.name: str(path.read_bytes()) for path in sorted((folder / "models").glob("*"))}
    return {**{f"record.{key}": json.dumps(value, sort_keys=True) for key, value in record.items()}, **rows, **models}


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
    """End a command and all it has started; whatever is still there after ten seconds is a leftover."""
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


@dataclass
class Killer:
    """A run that is killed and goes on. flags: of `fedbench run`; how: those of them that `resume` takes, too."""

    flags: list[str]
    how: list[str]
    out: Path
    order: int = 0
    env: dict[str, str] | None = None
    _length: float = field(default=math.inf, init=False)
    """Seconds that an undisturbed run takes."""

    def survive(self, kills: int) -> Counter[str]:
        """Kill it `kills` times; AssertionError if an outcome differs. Counts the kills by what they interrupted."""
        first, self._length = self._timed()
        if "ray" in self.how:
            self._end([*self._run("serial"), "--executor", "serial"])
            self._compare("serial")
        met, rng = Counter[str](), random.Random(self.order)  # noqa: S311 - no secret
        while met.total() - met[ENDED] - met[NO_RAY] - met["records compared"] < kills:
            early = rng.random() < EARLY
            met[self._kill(rng.uniform(*((0, first) if early else sorted((first, self._length)))))] += 1
            assert met[NO_RAY] <= kills, NO_RAY
            if (folder := self._folder()) and (folder / "record.json").exists():
                self._end(["fedbench", "resume", str(folder)])  # removes what a kill behind the record left
                met["records compared"] += self._compare()
                shutil.rmtree(self.out / "killed")
        self._end(self._run("killed"))
        met["records compared"] += self._compare()
        return met

    def _run(self, where: str) -> list[str]:
        return ["fedbench", "run", *self.flags, *self.how, "--out", str(self.out / where)]

    def _kill(self, instant: float) -> str:
        """Start the run or go on with it, and kill it `instant` seconds later; gives what was interrupted."""
        folder = self._folder()
        begun = folder is not None and _begun(folder)
        before = committed(folder) if begun else 0
        clock = time.monotonic()
        process = start(["fedbench", "resume", str(folder), *self.how] if begun else self._run("killed"), self.env)
        if not (ended := _ends_within(process, instant)):
            kill_group(process)
        elif not _ended_well(process):
            return NO_RAY
        elif not begun:
            self._length = min(self._length, time.monotonic() - clock)
        folder = self._folder()
        if folder is None or not _begun(folder):
            return "killed before the first commit"
        if (folder / "record.json").exists():
            return ENDED if ended else "killed behind its record"
        after = committed(folder)
        assert after >= before, f"round {after} after round {before}: more than one round was lost"
        return "killed in its rounds"

    def _timed(self) -> tuple[float, float]:
        """Seconds until the first commit, and until the end, of an undisturbed run."""
        for _ in range(STARTS):
            begun = time.monotonic()
            process = start(self._run("plain"), self.env)
            while process.poll() is None and not list((self.out / "plain").glob("*/state/journal.json")):
                time.sleep(0.01)
            first = time.monotonic() - begun
            if _ended_well(process):
                return first, time.monotonic() - begun
        raise AssertionError(NO_RAY)

    def _end(self, command: list[str]) -> None:
        assert any(_ended_well(start(command, self.env)) for _ in range(STARTS)), NO_RAY

    def _folder(self) -> Path | None:
        return next((self.out / "killed").glob("*"), None)

    def _compare(self, where: str = "killed") -> int:
        (plain,), (killed,) = list((self.out / "plain").glob("*")), list((self.out / where).glob("*"))
        expected, found = scientific(plain), scientific(killed)
        for key in expected.keys() | found.keys():
            one, other = expected.get(key), found.get(key)
            assert one == other, f"{key} differs from character {_common(one or '', other or '')} on"
        names = sorted(path.name for path in killed.iterdir())
        assert names == ["clients.csv", "messages.csv", "models", "record.json"], names
        return 1


def _common(one: str, other: str) -> int:
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _ends_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    return process.returncode is not None


def _ended_well(process: subprocess.Popen[bytes]) -> bool:
    """Wait for the end of a command; False where Ray could not be started, AssertionError for any other failure."""
    _, said = process.communicate()
    assert process.returncode == 0 or NO_RAY in said.decode(), said.decode()
    return process.returncode == 0


def _begun(folder: Path) -> bool:
    names = ("state/journal.json", "state/journal.previous.json", "record.json")
    return any((folder / name).exists() for name in names)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--order", type=int, default=0)
    parser.add_argument("--executor", default="processes")
    parser.add_argument("--workers", default="2")
    own, others = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as scratch:
        how_ = ["--executor", own.executor, "--workers", own.workers]
        counted = Killer(others or DEFAULT.split(), how_, Path(scratch), own.order).survive(own.kills)
        print(f"{own.kills} kills, all records equal: {dict(counted)}", flush=True)  # noqa: T201
