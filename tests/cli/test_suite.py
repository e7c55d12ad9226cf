"""`fedbench suite`, `submit` and `verify`: what they run, file, print and refuse, and how they resume."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Thread

import psutil
import pytest
from click.testing import CliRunner

from fedbench_core.cli.group import fedbench
from fedbench_core.federation.assembly import resolve
from fedbench_core.federation.spec import digest_of
from fedbench_core.records.folder import claimed, folder_of
from fedbench_core.records.record import comparable, read_record, sealed, write_record
from fedbench_core.suites.filed_records import read_filed_records
from fedbench_core.suites.files import read_suite

MAIN = "from fedbench_core.cli import main; main()"
# A shell that starts pytest in the background makes its children ignore SIGINT.
HANDLE_SIGINT = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
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
    """Write leaderboards/suites/NAME.toml with these entries; returns its path."""

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
    """A command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEDBENCH_CACHE", str(tmp_path / "cache"))
    return lambda *arguments: CliRunner().invoke(fedbench, [str(a) for a in arguments], prog_name="fedbench")


SMALL = "leaderboards/suites/small.toml"
TWO = ('method = "local"', 'method = "fedavg"')


def filed(path: Path) -> dict[str, Path]:
    """The filed records of a suite by name."""
    records = path.parent.parent / "records" / path.stem
    return {file.stem: file for file in sorted(records.glob("*.json"))}


def test_missing_runs_are_run_once_and_filed(go, suite) -> None:
    path = suite(*TWO)
    first = go("suite", "run", path, "--workers", 2, "--track", "kit-lines")
    assert first.exit_code == 0, first.stderr
    assert len(list((path.parents[2] / "runs" / "kit-lines").glob("*.jsonl"))) == 4
    assert "4 of 4" in first.stdout
    assert re.search(r"will not be ranked: .*majority \(.*, steps \(.*, flops \(.*, centralized \(", first.stderr)
    assert re.search(r"4/4 runs  .*-s1-\w{8}  .* left", first.stderr)
    names = {f"{method}-spots-as-set-s{seed}" for method in ("local", "fedavg") for seed in (0, 1)}
    assert {name.rpartition("-")[0] for name in filed(path)} == names
    written = {file: file.stat().st_mtime_ns for file in filed(path).values()}
    suite(*reversed(TWO), seeds=[1, 0])
    again = go("suite", "run", path)
    assert (again.exit_code, again.stderr.count("\n")) == (0, 1)
    assert "4 of 4" in again.stdout
    assert {file: file.stat().st_mtime_ns for file in filed(path).values()} == written
    suite(*TWO, seeds=[0, 1, 2])
    rows = json.loads(go("suite", "status", path, "--json").stdout)
    assert [(row["entry"], row["done"], row["missing"]) for row in rows] == [("local", 2, 1), ("fedavg", 2, 1)]
    assert go("suite", "run", path).exit_code == 0
    table = go("suite", "status", path).stdout.splitlines()
    assert table == ["entry   spots, as set", "local   3 done", "fedavg  3 done"]


def test_filed_record_has_its_grid_point_and_no_path(go, suite) -> None:
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


@pytest.mark.slow
def test_failed_and_invalid_runs_are_named_and_stop_no_other_run(go, suite, tmp_path) -> None:
    tries = tmp_path / "tries"
    tries.mkdir()
    dies = f'method = "kit-doomed"\nset = {{"local_update.path" = "{tries}", "local_update.times" = 2}}'
    raises = 'name = "raises"\nmethod = "kit-faulty"\nset = {"local_update.fault" = "raise"}'
    short = 'name = "short"\nmethod = "local"\nset = {"partitioner.min_size" = 21}'
    lost = 'name = "lost"\nmethod = "fedavg"\ntopology = "kit-lost"\nset = {"topology.source" = 9}'
    path = suite(*TWO, dies, raises, short, lost, seeds=1, backbones='["tiny", "tiny,wide"]')
    result = go("suite", "run", path, "--workers", 2)
    assert result.exit_code == 1
    assert "4 runs failed" in result.stderr.splitlines()[-1]
    reasons = dict(re.findall(r"^(raises|kit-doomed|fedavg)-.*?  +(\S.*)$", result.stdout, re.MULTILINE))
    assert "-9" in reasons["kit-doomed"]
    assert all(
        text in reasons["raises"] for text in ("client 1", "round 1", "kit-faulty", "ZeroDivisionError: by zero")
    )
    assert "tiny, wide" in result.stdout
    assert "60 training images" in result.stdout
    assert "3 of 12" in result.stdout
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
    assert "2 runs failed" in again.stderr


@pytest.mark.slow
def test_run_that_another_process_computes_is_done_last_and_filed(go, suite) -> None:
    path = suite(*TWO, seeds=1)
    held = [folder_of(resolve(point.spec).spec, Path("runs"), fresh=False) for point in read_suite(path).grid_points()]

    def release_after_the_other() -> None:
        while len(filed(path)) < 1:
            time.sleep(0.05)
        holding.close()

    with ExitStack() as holding:
        holding.enter_context(claimed(held[0]))
        Thread(target=release_after_the_other, daemon=True).start()
        done = go("suite", "run", path, "--workers", 1)
    assert done.exit_code == 0, done.stderr
    assert len(filed(path)) == 2


def states(go, path: Path) -> dict[tuple[str, str], str]:
    """The state of each entry and list of backbones, for one seed."""
    rows = json.loads(go("suite", "status", path, "--json").stdout)
    known = ("done", "missing", "failed", "skipped")
    return {(row["entry"], row["backbones"]): next(state for state in known if row[state]) for row in rows}


WRONG = {
    "method": ('method = "lokal"', "'local'"),
    "option": (
        'method = "local"\nset = {"aggregator.unifrom" = true}',
        "'uniform'",
    ),
    "setting": ('method = "local"\nround = 3', "'rounds'"),
    "grid": (None, "entries"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_suite_is_refused_by_file_before_anything_runs(go, suite, case) -> None:
    entry, named = WRONG[case]
    path = suite(*([TWO[1], entry] if entry else []))
    result = go("suite", "run", path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"Error: {path}: ")
    assert named in result.stderr
    assert not Path("runs").exists()
    assert not filed(path)


def test_run_is_filed_for_all_its_grid_points(go, suite) -> None:
    path = suite('method = "local"', 'name = "twin"\nmethod = "local"\nlr = 0.002', seeds=1)
    assert go("suite", "run", path).exit_code == 0
    assert len(list(Path("runs").glob("*/record.json"))) == 1
    one, other = (read_record(file) for file in filed(path).values())
    assert comparable(one) == comparable(other)
    assert one["grid_point"]["entry"] != other["grid_point"]["entry"]


def alter(file: Path, **blocks: object) -> dict:
    """Change blocks of a record, as if it came from other versions or another processor; returns it."""
    record = sealed({**read_record(file), **blocks})
    write_record(file, record)
    return record


@pytest.mark.slow
def test_outdated_records_are_named_and_replaced_only_with_fresh(go, suite) -> None:
    path = suite(TWO[0], seeds=1)
    go("suite", "run", path)
    (file,) = filed(path).values()
    record = read_record(file)
    old = alter(file, versions={**record["versions"], "torch": "2.0"}, notes=["old"])
    file = file.rename(file.with_name("by-another-name.json"))
    kept = go("suite", "run", path)
    assert kept.exit_code == 0
    assert f"torch 2.0 (now {record['versions']['torch']})" in kept.stdout
    assert "--fresh" in kept.stdout
    assert read_record(file) == old
    assert go("suite", "run", path, "--fresh").exit_code == 0
    assert comparable(read_record(file)) == comparable(record)
    assert list(filed(path)) == ["by-another-name"]
    assert "--fresh" not in go("suite", "run", path, "--fresh").stdout


@pytest.mark.slow
def test_run_begun_by_other_versions_is_refused_and_repeated_only_with_fresh(go, suite) -> None:
    path = suite(TWO[0], seeds=1)
    go("suite", "run", path)
    (file,), (run,) = filed(path).values(), Path("runs").glob("*/record.json")
    file.unlink()
    record = read_record(run)
    old = alter(run, versions={**record["versions"], "torch": "2.0"})
    refused = go("suite", "run", path)
    assert refused.exit_code == 1
    assert str(run.parent) in refused.stdout
    assert "torch 2.0" in refused.stdout
    assert not filed(path)
    assert go("suite", "run", path, "--fresh").exit_code == 0
    assert comparable(read_record(file)) == comparable(record)
    assert read_record(run) == old


@pytest.mark.slow
def test_folder_that_cannot_be_made_is_named(go, suite) -> None:
    path = suite(TWO[0], seeds=1)
    Path("file").write_text("")
    result = go("suite", "run", path, "--records", "file/records")
    assert result.exit_code == 1
    assert "file/records" in result.stdout
    refused = go("suite", "run", path, "--out", "file/runs")
    assert (refused.exit_code, "file/runs" in refused.stderr) == (1, True)


RUN = ("run", "--backbones", "tiny", "--dataset", "spots", "--clients", "3", "--rounds", "2", "--steps", "2")
RUN += ("--batch-size", "8", "--executor", "serial", "--out", "mine", "--seed", "1")


@pytest.mark.slow
def test_submitted_run_is_filed_like_a_run_of_the_suite(go, suite) -> None:
    path = suite(*TWO)
    go(*RUN, "--method", "fedavg")
    (run,) = Path("mine").iterdir()
    first = go("submit", run, "--suite", path)
    (file,) = filed(path).values()
    assert (first.exit_code, first.stdout) == (0, f"Filed as fedavg, seed 1: {file}\n")
    again = go("submit", run / "record.json", "--suite", path)
    assert (again.exit_code, again.stdout) == (0, f"Already filed as fedavg, seed 1: {file}\n")
    assert json.loads(go("submit", run, "--suite", path, "--json").stdout)[0]["already_filed"] is True
    before = file.read_bytes()
    assert go("suite", "run", path).exit_code == 0
    assert len(filed(path)) == 4
    assert file.read_bytes() == before


def test_run_outside_the_suite_is_refused_with_the_difference(go, suite) -> None:
    path = suite(*TWO)
    go(*RUN, "--method", "fedavg", "--lr", "0.5")
    (run,) = Path("mine").iterdir()
    result = go("submit", run, "--suite", path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert all(text in result.stderr for text in (str(run), "small", "lr 0.5", "0.002"))
    suite(TWO[0])
    other = go("submit", run, "--suite", path)
    assert (other.exit_code, "fedavg" in other.stderr) == (2, True)
    assert not filed(path)


def test_run_that_disagrees_with_a_filed_record_is_refused(go, suite) -> None:
    path = suite(*TWO)
    go(*RUN, "--method", "local")
    (run,) = Path("mine").iterdir()
    go("submit", run, "--suite", path)
    (file,) = filed(path).values()
    alter(run / "record.json", notes=["another"])
    result = go("submit", run, "--suite", path)
    assert result.exit_code == 1
    assert all(text in result.stderr for text in (str(file), str(run), "notes"))


@pytest.mark.parametrize("damage", [{"versions": {}}, {"spec_digest": "0"}, {"test": {"round": 0}}, {"how": None}])
def test_incomplete_record_is_refused(go, suite, damage) -> None:
    path = suite(*TWO)
    go(*RUN, "--method", "local")
    (run,) = Path("mine").iterdir()
    alter(run / "record.json", **damage)
    result = go("submit", run, "--suite", path)
    assert result.exit_code == 1
    assert str(run) in result.stderr
    assert not filed(path)


def test_reproducible_record_is_verified(go) -> None:
    go(*RUN, "--method", "fedavg")
    (run,) = Path("mine").iterdir()
    result = go("verify", run, "--workers", 2)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("Identical")
    assert [path.name for path in Path("mine").iterdir()] == [run.name]


def test_record_that_is_not_reproducible_is_shown_with_values_and_versions(go) -> None:
    go(*RUN, "--method", "local")
    (run,) = Path("mine").iterdir()
    record = read_record(run)
    costs = {**record["costs"], "training_gflops": 0.25}
    alter(run / "record.json", versions={**record["versions"], "timm": "0.1"}, costs=costs, notes=["x"])
    result = go("verify", run, "--workers", 1)
    assert (result.exit_code, result.stderr.count("Error")) == (1, 0)
    assert re.search(
        rf"^costs.training_gflops +0.25 +{record['costs']['training_gflops']!r}$", result.stdout, re.MULTILINE
    )
    assert "2 values" in result.stdout
    assert "timm 0.1" in result.stdout
    verdict = json.loads(go("verify", run, "--json").stdout)
    assert (verdict["agrees"], [value["path"] for value in verdict["values"]]) == (
        False,
        ["costs.training_gflops", "notes"],
    )
    assert verdict["versions"][0]["before"] == "0.1"


@pytest.fixture(scope="module")
def computed(tmp_path_factory) -> Path:
    """Where `two_filed` keeps what it computed for the first test."""
    return tmp_path_factory.mktemp("computed") / "leaderboards"


@pytest.fixture
def two_filed(go, suite, computed) -> list[Path]:
    """Two filed records of a suite whose baselines are not compulsory here."""
    path = suite('method = "local"')
    if not computed.exists():
        assert go("suite", "run", path, "--workers", 1).exit_code == 0
        shutil.copytree(path.parents[1], computed)
    shutil.copytree(computed, path.parents[1], dirs_exist_ok=True)
    return list(filed(path).values())


@pytest.mark.slow
def test_verification_is_signed_beside_the_record_and_shown_on_the_page(go, two_filed) -> None:
    assert "none of 2 records" in go("leaderboard", "small", "--notes").stdout
    first = two_filed[0]
    before = first.read_bytes()
    signed = go("verify", first, "--sign", "Ada | <b>", "--workers", 1)
    assert signed.exit_code == 0, signed.stderr
    [one] = json.loads((first.parent / "verified" / first.name).read_text())
    assert (one["by"], one["record"]) == ("Ada | <b>", read_record(first)["digest"])
    assert one["versions"] == read_record(first)["versions"]
    assert first.read_bytes() == before
    go("leaderboard", "--write")
    text = Path("leaderboards/small.md").read_text()
    assert r"1 of 2 records. spots, as set, tiny: local, seed 0 (by Ada \| \<b\>)" in text
    alter(first, notes=["another"])
    assert "none of 2 records" in go("leaderboard", "small", "--notes").stdout, "it is about another record"


def test_records_of_one_grid_point_that_disagree_are_both_named(go, two_filed) -> None:
    file = two_filed[0]
    other = file.with_name("other.json")
    other.write_bytes(file.read_bytes())
    assert len(read_filed_records(file.parent)) == 2
    alter(other, notes=["another"])
    for command in ("run", "status"):
        result = go("suite", command, SMALL)
        assert result.exit_code == 1
        assert all(text in result.stderr for text in (str(file), str(other), "notes"))


def test_damaged_record_is_named(go, two_filed) -> None:
    file = two_filed[0]
    file.write_text(file.read_text().replace('"clients":3', '"clients":4'))
    result = go("suite", "run", SMALL)
    assert result.exit_code == 1
    assert str(file) in result.stderr


def test_record_that_is_not_reproduced_is_not_signed(go, two_filed) -> None:
    refused = go("verify", two_filed[0], "--sign", "A" * 201)
    assert (refused.exit_code, "200 characters" in refused.stderr) == (2, True)
    alter(two_filed[0], notes=["x"])
    assert go("verify", two_filed[0], "--sign", "Ada", "--workers", 1).exit_code == 1
    assert not (two_filed[0].parent / "verified").exists()


def test_list_of_verifications_that_is_damaged_is_named_and_kept(go, two_filed) -> None:
    verified = two_filed[0].parent / "verified" / two_filed[0].name
    verified.parent.mkdir()
    verified.write_text('[{"by": 3}]')
    assert verified.name in go("leaderboard", "small").stdout
    refused = go("verify", two_filed[0], "--sign", "Ada", "--workers", 1)
    assert refused.exit_code == 1
    assert verified.name in refused.stderr
    assert verified.read_text() == '[{"by": 3}]'


@pytest.mark.slow
def test_sample_of_a_suite_is_drawn_again_with_its_seed(go, two_filed) -> None:
    once = go("verify", "small", "--sample", 1, "--seed", 3, "--json", "--workers", 1)
    assert once.exit_code == 0, once.stderr
    [value] = json.loads(once.stdout)
    assert value["agrees"]
    assert Path(value["record"]).name in {path.name for path in two_filed}
    again = go("verify", SMALL, "--sample", 1, "--seed", 3, "--json", "--workers", 1)
    assert json.loads(again.stdout)[0]["record"] == str(Path(value["record"]).resolve())
    alter(two_filed[0], notes=["x"])
    everything = go("verify", "small", "--sample", 9, "--workers", 1)
    assert everything.exit_code == 1
    assert everything.stdout.count("dentical") == 2
    assert "--sample 9 --seed" in everything.stderr


def test_record_with_other_settings_than_its_grid_point_is_not_verified(go, two_filed) -> None:
    record = read_record(two_filed[0])
    spec = {**record["spec"], "optimizer": "sgd"}
    alter(two_filed[0], spec=spec, spec_digest=digest_of(spec))
    result = go("verify", two_filed[0], "--workers", 1)
    assert result.exit_code == 1
    assert "optimizer sgd (the suite: adam)" in result.stderr


@pytest.mark.parametrize("wrong", [["--seed", 3], ["--sign", "Ada"], ["--sample", 2], ["--sample", 0]])
def test_wrong_verification_is_refused(go, wrong) -> None:
    go(*RUN, "--method", "local")
    (run,) = Path("mine").iterdir()
    assert go("verify", run, *wrong).exit_code == 2


def start(environment, tmp_path, path: Path, out: str, records: str) -> subprocess.Popen[str]:
    """`fedbench suite run` in a process group of its own, which handles SIGINT."""
    flags = ["--workers", "2", "--out", str(tmp_path / out), "--records", str(tmp_path / records)]
    return subprocess.Popen(
        [sys.executable, "-c", f"{HANDLE_SIGINT}; {MAIN}", "suite", "run", str(path), *flags],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def members(group: int) -> list[psutil.Process]:
    """The running processes of a group."""
    found = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def wait_for_end(group: int) -> None:
    deadline = time.monotonic() + 120
    while left := members(group):
        assert time.monotonic() < deadline, f"still running: {left}"
        time.sleep(0.05)


def contents(folder: Path) -> dict[str, dict]:
    return {file.name: comparable(read_record(file)) for file in sorted(folder.glob("*.json"))}


def kill_parent(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def press_ctrl_c(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate()
    assert (process.returncode, stdout) == (130, "")
    assert stderr.splitlines()[-1].startswith("Interrupted.")


@pytest.mark.slow
def test_suite_that_is_killed_again_and_again_ends_with_the_same_records(go, environment, tmp_path, suite) -> None:
    path = suite(*TWO, 'method = "kit-pair"\nrounds = 15', seeds=2)
    assert go("suite", "run", path, "--records", "plain").exit_code == 0
    wanted = contents(tmp_path / "plain")
    assert len(wanted) == 6
    for end in (kill_parent, press_ctrl_c):
        process = start(environment, tmp_path, path, "killed", "records")
        assert any("runs  " in line for line in process.stderr), "ended before a run was finished"
        assert process.poll() is None
        end(process)
        wait_for_end(process.pid)
        assert contents(tmp_path / "records").items() <= wanted.items()
    assert len(contents(tmp_path / "records")) < len(wanted)
    last = go("suite", "run", path, "--workers", 2, "--out", tmp_path / "killed", "--records", tmp_path / "records")
    assert last.exit_code == 0, last.stderr
    assert contents(tmp_path / "records") == wanted
    assert not list((tmp_path / "records").glob(".*"))
