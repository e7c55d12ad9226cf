"""`fedbench suite`, `submit` and `verify`: what they run, file, print, refuse, and survive."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from fedbench_core.cli.group import fedbench
from fedbench_core.records.record import comparable, read_record, sealed, write_record
from fedbench_core.suites.filing import read_filed

MAIN = "from fedbench_core.cli import main; main()"
# What starts pytest in the background makes its children deaf to Ctrl-C.
HEARS_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
HEAD = """
name = "{name}"
question = "Which is better?"
seeds = {seeds}
datasets = ["spots"]
backbones = {backbones}
[settings]
clients = 3
rounds = {rounds}
steps = 2
batch_size = 8
"""


@pytest.fixture
def suite(tmp_path):
    """Write leaderboards/suites/NAME.toml with these entries; gives its path."""

    def put(
        *entries: str, name: str = "small", seeds: object = 2, rounds: int = 2, backbones: str = '["tiny"]'
    ) -> Path:
        path = tmp_path / "leaderboards" / "suites" / f"{name}.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        head = HEAD.format(name=name, seeds=seeds, rounds=rounds, backbones=backbones)
        path.write_text("\n[[entries]]\n".join([head, *entries]))
        return path

    return put


@pytest.fixture
def go(kit, tmp_path, monkeypatch):  # noqa: ARG001  # its parts must be installed
    """A command in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEDBENCH_CACHE", str(tmp_path / "cache"))
    return lambda *arguments: CliRunner().invoke(fedbench, [str(a) for a in arguments], prog_name="fedbench")


TWO = ('method = "local"', 'method = "fedavg"')


def filed(path: Path) -> dict[str, Path]:
    """The filed records of a suite, by their names."""
    records = path.parent.parent / "records" / path.stem
    return {file.stem: file for file in sorted(records.glob("*.json"))}


def test_what_is_missing_is_run_filed_and_not_run_again(go, suite) -> None:
    path = suite(*TWO)
    first = go("suite", "run", path, "--workers", 2)
    assert first.exit_code == 0, first.stderr
    assert "4 of 4 runs are recorded" in first.stdout
    assert re.search(r"4/4 runs  .*-s1-\w{8}  .* left", first.stderr)
    names = {f"{method}-spots-as-set-s{seed}" for method in ("local", "fedavg") for seed in (0, 1)}
    assert {name.rpartition("-")[0] for name in filed(path)} == names
    written = {file: file.stat().st_mtime_ns for file in filed(path).values()}
    suite(*reversed(TWO), seeds=[1, 0])
    again = go("suite", "run", path)
    assert (again.exit_code, again.stderr) == (0, "")
    assert "4 of 4 runs are recorded" in again.stdout
    assert {file: file.stat().st_mtime_ns for file in filed(path).values()} == written
    suite(*TWO, seeds=[0, 1, 2])
    rows = json.loads(go("suite", "status", path, "--json").stdout)
    assert [(row["entry"], row["done"], row["missing"]) for row in rows] == [("local", 2, 1), ("fedavg", 2, 1)]
    assert go("suite", "run", path).exit_code == 0
    table = go("suite", "status", path).stdout.splitlines()
    assert table == ["entry   spots, as set", "local   3 done", "fedavg  3 done"]


def test_a_filed_record_is_the_runs_with_its_grid_point_and_without_a_path(go, suite) -> None:
    path = suite(TWO[0], seeds=1)
    go("suite", "run", path)
    (file,) = filed(path).values()
    (run,) = Path("runs").glob("*/record.json")
    mine, own = read_record(file), read_record(run)
    assert comparable(mine) == comparable(own)
    assert mine["grid_point"] == {
        "suite": "small",
        "entry": "local",
        "dataset": "spots",
        "partition": "as set",
        "backbones": "tiny",
        "seed": 0,
        "key": mine["grid_point"]["key"],
    }
    assert file.name == f"local-spots-as-set-s0-{mine['grid_point']['key'][:8]}.json"
    assert own["how"].keys() - mine["how"].keys() == {"data_root"}
    assert (own["how"]["executor"], own["spec"]["threads"]) == ("serial", 1)


def test_what_fails_dies_or_cannot_be_is_told_by_name_and_stops_nothing(go, suite, tmp_path) -> None:
    tries = tmp_path / "tries"
    tries.mkdir()
    dies = f'method = "kit-doomed"\nset = {{"local_update.path" = "{tries}", "local_update.times" = 2}}'
    raises = 'name = "raises"\nmethod = "kit-faulty"\nset = {"local_update.fault" = "raise"}'
    short = 'name = "short"\nmethod = "local"\nset = {"partitioner.min_size" = 21}'
    lost = 'name = "lost"\nmethod = "fedavg"\ntopology = "kit-lost"\nset = {"topology.home_is" = 9}'
    path = suite(*TWO, dies, raises, short, lost, seeds=1, backbones='["tiny", "tiny,wide"]')
    result = go("suite", "run", path, "--workers", 2)
    assert result.exit_code == 1
    assert result.stderr.endswith("Error: 4 runs failed. The same command tries again.\n")
    told = dict(re.findall(r"^(raises|kit-doomed|fedavg)-.*?  +(\S.*)$", result.stdout, re.MULTILINE))
    assert told["kit-doomed"] == "Its worker died with exit status -9 (-9: out of memory?)."
    assert re.match("client 1, round 1: local update kit-faulty .*ZeroDivisionError: by zero", told["raises"])
    assert "fedavg needs one backbone for all clients; got tiny, wide." in result.stdout
    assert "60 training images are too few to give each of 3 clients 21 images" in result.stdout
    assert "3 of 12 runs are recorded" in result.stdout
    assert "Traceback" not in result.output
    assert states(go, path) == {
        ("local", "tiny"): "done",
        ("local", "tiny,wide"): "done",
        ("fedavg", "tiny"): "done",
        ("fedavg", "tiny,wide"): "skipped",
        ("raises", "tiny"): "failed",
        ("raises", "tiny,wide"): "skipped",
        ("kit-doomed", "tiny"): "failed",
        ("kit-doomed", "tiny,wide"): "failed",
        ("lost", "tiny"): "failed",
        ("lost", "tiny,wide"): "skipped",
        ("short", "tiny"): "skipped",
        ("short", "tiny,wide"): "skipped",
    }
    again = go("suite", "run", path)
    assert (again.exit_code, len(filed(path))) == (1, 3 + 2)
    assert "Error: 2 runs failed." in again.stderr


def states(go, path: Path) -> dict[tuple[str, str], str]:
    """The state of each entry and list of backbones, of one seed."""
    rows = json.loads(go("suite", "status", path, "--json").stdout)
    known = ("done", "missing", "failed", "skipped")
    return {(row["entry"], row["backbones"]): next(state for state in known if row[state]) for row in rows}


WRONG = {
    "method": ('method = "lokal"', "entry 'lokal', partition 'as set': No method named 'lokal'. Did you mean 'local'"),
    "option": (
        'method = "local"\nset = {"aggregator.unifrom" = true}',
        "No option of aggregator 'mean' named 'unifrom'",
    ),
    "setting": ('method = "local"\nround = 3', "No setting named 'round'"),
    "grid": (None, "entries: field required"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_suite_is_exit_2_naming_the_file_before_anything_runs(go, suite, case) -> None:
    entry, says = WRONG[case]
    path = suite(*([TWO[1], entry] if entry else []))
    result = go("suite", "run", path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"Error: {path}: ")
    assert says in result.stderr
    assert not Path("runs").exists()
    assert not filed(path)


def test_one_run_serves_all_grid_points_that_ask_for_it(go, suite) -> None:
    path = suite('method = "local"', 'name = "twin"\nmethod = "local"\nlr = 0.02', seeds=1)
    assert go("suite", "run", path).exit_code == 0
    assert len(list(Path("runs").glob("*/record.json"))) == 1
    one, other = (read_record(file) for file in filed(path).values())
    assert comparable(one) == comparable(other)
    assert one["grid_point"]["entry"] != other["grid_point"]["entry"]


def alter(file: Path, **blocks: object) -> dict:
    """A record as somebody with other versions or another processor would have filed it."""
    record = sealed({**read_record(file), **blocks})
    write_record(file, record)
    return record


def test_other_versions_are_told_and_run_again_only_when_asked(go, suite) -> None:
    path = suite(TWO[0], seeds=1)
    go("suite", "run", path)
    (file,) = filed(path).values()
    record = read_record(file)
    old = alter(file, versions={**record["versions"], "torch": "2.0"}, notes=["old"])
    file = file.rename(file.with_name("by-another-name.json"))
    kept = go("suite", "run", path)
    assert kept.exit_code == 0
    assert f"torch 2.0 (now {record['versions']['torch']})" in kept.stdout
    assert "Records kept though made with another spec or other versions: 1. --fresh replaces them." in kept.stdout
    assert read_record(file) == old
    assert go("suite", "run", path, "--fresh").exit_code == 0
    assert comparable(read_record(file)) == comparable(record)
    assert list(filed(path)) == ["by-another-name"]
    assert "other versions" not in go("suite", "run", path, "--fresh").stdout


def test_a_run_that_other_versions_began_is_told_and_begun_anew_only_when_asked(go, suite) -> None:
    path = suite(TWO[0], seeds=1)
    go("suite", "run", path)
    (file,), (run,) = filed(path).values(), Path("runs").glob("*/record.json")
    file.unlink()
    record = read_record(run)
    old = alter(run, versions={**record["versions"], "torch": "2.0"})
    refused = go("suite", "run", path)
    assert refused.exit_code == 1
    assert f"{run.parent} was begun with torch 2.0 (now" in refused.stdout
    assert not filed(path)
    assert go("suite", "run", path, "--fresh").exit_code == 0
    assert comparable(read_record(file)) == comparable(record)
    assert read_record(run) == old, "nothing is lost"


def test_two_records_of_one_grid_point_that_disagree_are_both_named(go, suite) -> None:
    path = suite(TWO[0], seeds=1)
    go("suite", "run", path)
    (file,) = filed(path).values()
    other = file.with_name("other.json")
    other.write_bytes(file.read_bytes())
    assert len(read_filed(file.parent)) == 1
    alter(other, notes=["another"])
    for command in (("run", path), ("status", path)):
        result = go("suite", *command)
        assert result.exit_code == 1
        assert f"{file} and {other} are records of one grid point and disagree in notes." in result.stderr


def test_a_damaged_record_is_named(go, suite) -> None:
    path = suite(TWO[0], seeds=1)
    go("suite", "run", path)
    (file,) = filed(path).values()
    file.write_text(file.read_text().replace('"clients":3', '"clients":4'))
    result = go("suite", "run", path)
    assert result.exit_code == 1
    assert f"{file} was altered" in result.stderr


def test_a_records_folder_that_cannot_be_made_is_told(go, suite) -> None:
    path = suite(TWO[0], seeds=1)
    Path("file").write_text("")
    result = go("suite", "run", path, "--records", "file/records")
    assert result.exit_code == 1
    assert "file/records could not be made" in result.stdout
    refused = go("suite", "run", path, "--out", "file/runs")
    assert (refused.exit_code, "file/runs could not be made" in refused.stderr) == (1, True)


RUN = ("run", "--backbones", "tiny", "--dataset", "spots", "--clients", "3", "--rounds", "2", "--steps", "2")
RUN += ("--batch-size", "8", "--executor", "serial", "--out", "mine", "--seed", "1")


def test_a_run_that_a_suite_asks_for_is_filed_as_its_own_would_be(go, suite) -> None:
    path = suite(*TWO)
    go(*RUN, "--method", "fedavg")
    (run,) = Path("mine").iterdir()
    first = go("submit", run, "--suite", path)
    (file,) = filed(path).values()
    assert (first.exit_code, first.stdout) == (0, f"Filed, as fedavg with seed 1: {file}\n")
    again = go("submit", run / "record.json", "--suite", path)
    assert (again.exit_code, again.stdout[:33]) == (0, "The same record is there already,")
    assert json.loads(go("submit", run, "--suite", path, "--json").stdout)[0]["before"] is True
    before = file.read_bytes()
    assert go("suite", "run", path).exit_code == 0
    assert len(filed(path)) == 4
    assert file.read_bytes() == before


def test_what_no_grid_point_asks_for_is_refused_with_the_difference(go, suite) -> None:
    path = suite(*TWO)
    go(*RUN, "--method", "fedavg", "--lr", "0.5")
    (run,) = Path("mine").iterdir()
    result = go("submit", run, "--suite", path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"{run} is no grid point of suite small." in result.stderr
    assert "it differs in lr 0.5 (the suite: 0.02)." in result.stderr
    suite(TWO[0])
    assert "is of method fedavg, of which suite small has no entry" in go("submit", run, "--suite", path).stderr
    assert not filed(path)


def test_what_disagrees_with_what_is_filed_is_refused_and_both_are_named(go, suite) -> None:
    path = suite(*TWO)
    go(*RUN, "--method", "local")
    (run,) = Path("mine").iterdir()
    go("submit", run, "--suite", path)
    (file,) = filed(path).values()
    alter(run / "record.json", notes=["another"])
    result = go("submit", run, "--suite", path)
    assert result.exit_code == 1
    assert f"{file} and {run} are records of one grid point and disagree in notes." in result.stderr


@pytest.mark.parametrize("damage", [{"versions": {}}, {"spec_digest": "0"}, {"test": {"round": 0}}, {"how": None}])
def test_what_is_not_the_record_of_a_finished_run_is_refused(go, suite, damage) -> None:
    path = suite(*TWO)
    go(*RUN, "--method", "local")
    (run,) = Path("mine").iterdir()
    alter(run / "record.json", **damage)
    result = go("submit", run, "--suite", path)
    assert result.exit_code == 1
    assert f"{run} is not the record of a finished run" in result.stderr
    assert not filed(path)


def test_a_record_that_comes_out_again_agrees(go) -> None:
    go(*RUN, "--method", "fedavg")
    (run,) = Path("mine").iterdir()
    result = go("verify", run, "--workers", 2)
    assert result.exit_code == 0, result.stderr
    assert "The bits agree" in result.stdout
    assert "All versions are the same." in result.stdout
    assert [path.name for path in Path("mine").iterdir()] == [run.name]


def test_a_record_that_does_not_is_told_with_versions_and_values(go) -> None:
    go(*RUN, "--method", "local")
    (run,) = Path("mine").iterdir()
    record = read_record(run)
    test = {**record["test"], "metrics": {**record["test"]["metrics"], "auc": 0.25}}
    alter(run / "record.json", versions={**record["versions"], "timm": "0.1"}, test=test, notes=["x"])
    result = go("verify", run, "--workers", 1)
    assert (result.exit_code, result.stderr.count("Error")) == (1, 0)
    assert re.search(rf"^test.metrics.auc +0.25 +{record['test']['metrics']['auc']!r}$", result.stdout, re.MULTILINE)
    assert "2 values differ. Other versions: timm 0.1 (now" in result.stdout
    told = json.loads(go("verify", run, "--json").stdout)
    assert (told["agrees"], [value["path"] for value in told["values"]]) == (False, ["notes", "test.metrics.auc"])
    assert told["versions"][0]["before"] == "0.1"


def environment(kit, tmp_path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(kit), "FEDBENCH_CACHE": str(tmp_path / "cache")}


def start(kit, tmp_path, path: Path, out: str, records: str) -> subprocess.Popen[str]:
    """`fedbench suite run` in a process group of its own, which hears Ctrl-C."""
    flags = ["--workers", "2", "--out", str(tmp_path / out), "--records", str(tmp_path / records)]
    return subprocess.Popen(
        [sys.executable, "-c", f"{HEARS_CTRL_C}; {MAIN}", "suite", "run", str(path), *flags],
        env=environment(kit, tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def members(group: int) -> list[psutil.Process]:
    """The processes of a group that still live."""
    found = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def nobody_left(group: int) -> None:
    deadline = time.monotonic() + 20
    while left := members(group):
        assert time.monotonic() < deadline, f"left over: {left}"
        time.sleep(0.05)


def contents(folder: Path) -> dict[str, dict]:
    return {file.name: comparable(read_record(file)) for file in sorted(folder.glob("*.json"))}


def kill_group(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def kill_alone(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def press_ctrl_c(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate()
    assert (process.returncode, stdout) == (130, "")
    assert stderr.splitlines()[-1] == "Interrupted. Every finished run is filed. Go on with: the same command"


def test_a_suite_that_is_ended_again_and_again_ends_with_the_same_records(go, kit, tmp_path, suite) -> None:
    path = suite(*TWO, 'method = "kit-pair"\nrounds = 25', seeds=3)
    assert go("suite", "run", path, "--records", "plain").exit_code == 0
    wanted, rng = contents(tmp_path / "plain"), random.Random(0)  # noqa: S311 - no secret
    assert len(wanted) == 9
    for end in (kill_group, kill_alone, press_ctrl_c):
        process = start(kit, tmp_path, path, "killed", "records")
        assert re.match(r"small: \d+ runs recorded before, \d+ to make", process.stderr.readline())
        time.sleep(rng.uniform(0.1, 0.6))
        assert process.poll() is None
        end(process)
        nobody_left(process.pid)
        assert contents(tmp_path / "records").items() <= wanted.items()
    assert len(contents(tmp_path / "records")) < len(wanted)
    last = start(kit, tmp_path, path, "killed", "records")
    _, stderr = last.communicate()
    assert last.returncode == 0, stderr
    assert contents(tmp_path / "records") == wanted
    assert not list((tmp_path / "records").glob(".*"))
