"""Damage files of runs at random, and read them: every outcome is the undamaged one, or an error in one sentence.

    python -m tests.damage [CASES] [--seed 0]

The files are states and journals, records, tables, kept models, cached arrays and npz files; they lose, gain or change
bits and bytes, or disappear. A run on an npz file that can still be read has a record with another digest of its data.
"""

import argparse
import random
import shutil
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fedbench_core import RunSpec, run
from fedbench_core.api import FedbenchError
from fedbench_core.data import cache
from fedbench_core.records.kept_models import read_index
from fedbench_core.records.record import TABLES, check_table, comparable, read_record
from fedbench_core.runner import How, resume

SPEC = {"method": "kit-moody", "backbones": "tiny", "clients": 2, "rounds": 3, "steps": 1, "batch_size": 8}
SPEC |= {"dataset": "npz:own.npz", "partitioner": "iid", "evaluate_every": 0}
Outcome = dict[str, Any]


class StopError(Exception):
    """Ends a run early."""


def _stop(event: Any) -> None:
    if event.done == 2:
        raise StopError


def _flip(blob: bytearray, rng: random.Random) -> None:
    if blob:
        blob[rng.randrange(len(blob))] ^= 1 << rng.randrange(8)


def _scramble(blob: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(blob) + 1)
    blob[at : at + rng.randint(1, 16)] = rng.randbytes(rng.randint(1, 16))


def _erase(blob: bytearray, rng: random.Random) -> None:
    at, size = rng.randrange(len(blob) + 1), rng.randint(1, 512)
    blob[at : at + size] = bytes(len(blob[at : at + size]))


def _cut(blob: bytearray, rng: random.Random) -> None:
    del blob[rng.randrange(len(blob) + 1) :]


def _extend(blob: bytearray, rng: random.Random) -> None:
    blob += rng.randbytes(rng.randint(1, 64))


CHANGES: tuple[Callable[[bytearray, random.Random], None] | None, ...] = (
    _flip,
    _flip,
    _scramble,
    _erase,
    _cut,
    _extend,
)


class Damage:
    """A finished and a stopped run on an npz file, to be damaged in copies."""

    def __init__(self, folder: Path) -> None:
        self._template = folder / "template"
        self._scratch = folder / "scratch"
        self._template.mkdir()
        _write_npz(self._template / "own.npz")
        how = self._how(self._template, "finished")
        finished = run(RunSpec.of(SPEC), how)
        self._name = finished.folder.name
        self._expected = _outcome(finished.folder)
        try:
            run(RunSpec.of(SPEC), self._how(self._template, "stopped"), _stop)
        except StopError:
            return
        raise AssertionError("the run was not stopped")

    def survive(self, case: int, seed: int = 0) -> str:
        """Damage a file and read it; gives the kind of file and the outcome. AssertionError for a wrong outcome."""
        rng = random.Random(f"{seed} {case}")  # noqa: S311  # no secret
        shutil.rmtree(self._scratch, ignore_errors=True)
        shutil.copytree(self._template, self._scratch)
        kind = rng.choice(("state", "state", "run", "run", "cache", "npz"))
        which = "stopped" if kind == "state" else rng.choice(("finished", "stopped"))
        path = rng.choice(self._targets(which, kind))
        what = _damage(path, rng)
        kind = _kind(path)
        cache.SMALL_BYTES = rng.choice((0, 64 * 2**20))  # with and without stored MD5s
        where = f"case {case} of seed {seed}: {path.relative_to(self._scratch)} {what}"
        try:
            with warnings.catch_warnings(action="ignore"):
                found = self._read(which, kind, rng)
        except FedbenchError as error:
            if "should not happen" in str(error) or "\n" in str(error):
                raise AssertionError(f"{where}: {error}") from error
            return f"{kind}: refused"
        except Exception as error:
            raise AssertionError(f"{where}: {type(error).__name__}: {error}") from error
        if found == self._expected:
            return f"{kind}: the same"
        assert kind == "npz", f"{where}: another outcome"
        assert _digest(found) != _digest(self._expected), f"{where}: another outcome for the same digest"
        return "npz: another digest"

    def _targets(self, which: str, kind: str) -> list[Path]:
        folder = self._scratch / which / self._name
        if kind == "npz":
            return [self._scratch / "own.npz"]
        if kind == "cache":
            return sorted(path for path in (self._scratch / "cache").rglob("*") if path.is_file())
        if kind == "state":
            return sorted(path for path in (folder / "state").rglob("*") if path.is_file())
        return sorted(path for path in folder.rglob("*") if path.is_file() and path.parent.name != "state")

    def _read(self, which: str, kind: str, rng: random.Random) -> Outcome:
        """Go on with the run, or read it, or start over on data that were damaged."""
        out = rng.choice((which, "new")) if kind in ("npz", "cache") else which
        if out == which and kind != "npz" and rng.random() < 0.5:
            how = self._how(self._scratch, "")
            return _outcome(resume(self._scratch / which / self._name, how).folder)
        return _outcome(run(RunSpec.of(SPEC), self._how(self._scratch, out)).folder)

    def _how(self, folder: Path, out: str) -> How:
        return How(out=folder / out, base=folder, cache=folder / "cache", executor="serial")


def _outcome(folder: Path) -> Outcome:
    """What must not differ: the record but for `how`, the rows, and the kept models."""
    from fedbench_core import load_model  # noqa: PLC0415  # kept models are optional

    record = read_record(folder)
    model = load_model(folder)
    weights = {name: value.tolist() for name, value in model.state_dict().items()}
    for name in TABLES:
        check_table(folder / name, record)
    index = read_index(folder).model_dump(exclude={"digest"})
    tables = {name: (folder / name).read_bytes() for name in TABLES}
    return {"record": comparable(record), "models": index, "weights": weights, **tables}


def _digest(outcome: Outcome) -> str:
    return str(outcome["record"]["data"]["digest"])


def _kind(path: Path) -> str:
    kinds = {"state": "state", "models": "model", "md5": "cache"}
    if path.name == "own.npz":
        return "npz"
    if path.name in (*TABLES, "record.json"):
        return "record" if path.suffix == ".json" else "table"
    return kinds.get(path.parent.name, "cache")


def _damage(path: Path, rng: random.Random) -> str:
    if rng.random() < 0.1:
        path.unlink()
        return "removed"
    blob, change = bytearray(path.read_bytes()), rng.choice(CHANGES)
    change(blob, rng)
    path.write_bytes(blob)
    return change.__name__.removeprefix("_")


def _write_npz(path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {}
    for split in ("train", "val", "test"):
        arrays[f"{split}_images"] = rng.integers(0, 255, (18, 8, 8, 3), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(18, dtype=np.uint8)[:, None] % 3
    np.savez(path, **arrays)


def main() -> None:
    """Run the cases that the command line asks for, and print how they ended."""
    from tests.conftest import _site  # noqa: PLC0415  # in tests, a fixture installs the plugin

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=int, nargs="?", default=1000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "site").mkdir()
        with _site(Path(folder) / "site") as install:
            install("fedbench-kit", (Path(__file__).parent / "kit.py").read_text())
            damage, met, wrong = Damage(Path(folder)), Counter[str](), []
            for case in range(given.cases):
                try:
                    met[damage.survive(case, given.seed)] += 1
                except AssertionError as error:
                    wrong.append(str(error))
    print(*sorted(met.items()), *wrong, f"{len(wrong)} of {given.cases} cases wrong", sep="\n")  # noqa: T201


if __name__ == "__main__":
    main()
