"""`fedbench run`, `resume` and `partition`: what they print and refuse."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from fedbench_core import RunSpec
from fedbench_core.cli import progress
from fedbench_core.cli.group import COMMANDS, fedbench
from fedbench_core.records.record import comparable

MAIN = "from fedbench_core.cli import main; main()"
# A shell that starts pytest in the background makes its children ignore SIGINT.
HANDLE_SIGINT = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
SMALL = "--backbones tiny --dataset spots --clients 3 --rounds 2 --steps 2 --batch-size 8".split()  # noqa: SIM905  # as typed


@pytest.fixture
def go(kit, tmp_path, monkeypatch):  # noqa: ARG001  # its parts must be installed
    """`fedbench run` with small settings in this process; later flags override them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEDBENCH_CACHE", str(tmp_path / "cache"))

    def start(*flags: str, method: str = "fedavg"):
        arguments = ["run", "--method", method, *SMALL, "--executor", "serial", "--out", "out", *flags]
        return CliRunner().invoke(fedbench, arguments, prog_name="fedbench")

    return start


def _command(name):
    return fedbench.get_command(None, name)


@pytest.mark.parametrize("command", ["run", "partition"])
def test_settings_of_a_spec_have_flags(command) -> None:
    options = {option for parameter in _command(command).params for option in parameter.opts}
    assert {f"--{name.replace('_', '-')}" for name in RunSpec.model_fields} <= options
    assert "--config" in options


NO_TABLE = {"plot", "reference", "report", "track"}


@pytest.mark.parametrize("command", sorted(COMMANDS.keys() - NO_TABLE))
def test_commands_that_print_tables_have_the_flag_json(command) -> None:
    found = _command(command)
    for each in getattr(found, "commands", {command: found}).values():
        assert "--json" in {option for parameter in each.params for option in parameter.opts}


def test_run_prints_scores_and_writes_a_folder_that_is_found_again(go) -> None:
    result = go()
    assert result.exit_code == 0, result.stderr
    for text in ("global, after 2 rounds", "personalization", "generalization", "balanced accuracy", "AUC"):
        assert text in result.stdout
    for text in ("worst client", "up", "down", "peer", "3 clients", "after the last round", "recorded in"):
        assert text in result.stdout
    [folder] = Path("out").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["clients.csv", "messages.csv", "models", "record.json"]
    record = json.loads((folder / "record.json").read_text(), parse_constant=pytest.fail)
    assert record["how"]["executor"] == "serial"
    assert re.search(
        rf"^personalization +{record['test']['metrics']['personalization']:.3f}", result.stdout, re.MULTILINE
    )
    assert result.stderr.splitlines()[:4] == ["starting", "loading spots", "building tiny", "training on 1 worker"]
    live = [f"{point['personalization']:.3f}" for point in record["curve"]]
    told = r"^\d/2 rounds  loss \S+  personalization (\S+) \(val\)  .* sent  .* left$"
    assert re.findall(told, result.stderr, re.MULTILINE) == live

    again, as_json, fresh = go(), go("--json"), go("--fresh")
    assert "finished" in again.stdout.splitlines()[0]
    without_time = [
        re.sub(r"^[^;\n]+; recorded", "recorded", text, flags=re.MULTILINE) for text in (again.stdout, result.stdout)
    ]
    assert without_time[0].endswith(without_time[1])
    assert (json.loads(as_json.stdout), as_json.stderr) == ({**record, "folder": str(folder)}, "")
    assert fresh.stdout.splitlines()[0] == result.stdout.splitlines()[0]
    assert len(list(Path("out").iterdir())) == 2


def test_method_may_be_given_as_an_argument(go) -> None:
    assert json.loads(go("fedavg", "--json").stdout)["spec"]["method"] == "fedavg"


def test_seeds_are_run_one_after_the_other_and_summarized(go) -> None:
    result = go("--seeds", "2", "--rounds", "1")
    assert result.exit_code == 0, result.stderr
    runs = json.loads(go("--seed", "0,1", "--rounds", "1", "--json").stdout)
    assert sorted(map(str, Path("out").iterdir())) == sorted(run["folder"] for run in runs["runs"])
    scores = [run["test"]["metrics"]["auc"] for run in runs["runs"]]
    assert runs["scores"]["auc"] == {"mean": np.mean(scores), "sd": np.std(scores, ddof=1), "n": 2}
    row = next(line.split() for line in result.stdout.splitlines() if line.startswith("AUC"))
    assert row[-4:] == [f"{value:.3f}" for value in (np.mean(scores), np.std(scores, ddof=1), *scores)]
    assert "out" in result.stdout.splitlines()[-1]


def test_seed_that_fails_stops_no_other_and_ends_with_status_1(go) -> None:
    result = go("--set", "local_update.fault=nan", "--seeds", "2", "--rounds", "2", "--json", method="kit-faulty")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["failed"].keys() == {"0", "1"}
    assert "seed 0, 1" in result.stderr


def test_roles_have_columns_of_their_own(go) -> None:
    stdout = go(method="fedavg-ft").stdout
    assert "tuned, after 2 rounds" in stdout
    assert "global, after 2 rounds" in stdout


def test_rounds_without_participants_are_printed(go) -> None:
    result = go("--dropout", "0.7", "--rounds", "6", "--clients", "2")
    [record] = Path("out").glob("*/record.json")
    skipped = json.loads(record.read_text())["rounds_skipped"]
    assert skipped
    assert f": {', '.join(map(str, skipped))}." in result.stdout


def test_flags_override_the_config_file(go) -> None:
    Path("run.toml").write_text('rounds = 9\nlr = 0.3\nepochs = 5\n[set]\n"partitioner.alpha" = 5.0\n')
    result = go("--config", "run.toml", "--set", "dataset.train=45", "--json")
    spec = json.loads(result.stdout)["spec"]
    assert (spec["rounds"], spec["lr"], spec["steps"], spec["epochs"]) == (2, 0.3, 2, None)
    assert (spec["set"]["partitioner.alpha"], spec["set"]["dataset.train"]) == (5.0, 45)


def test_record_is_a_config(go) -> None:
    first = json.loads(go("--json", "--set", "partitioner.alpha=0.7").stdout)
    [record] = Path("out").glob("*/record.json")
    arguments = ["run", "--config", str(record), "--out", "again", "--executor", "serial", "--json"]
    again = json.loads(CliRunner().invoke(fedbench, arguments).stdout)
    assert again.pop("folder") != first.pop("folder")
    assert comparable(again) == comparable(first)


WRONG = {
    "method": (["--method", "fedavgg"], "'fedavg'"),
    "part": (["--compressor", "halff"], "'half'"),
    "dataset": (["--dataset", "spot"], "'spots'"),
    "backbone": (["--backbones", "resnet19"], "'resnet19'"),
    "option": (["--set", "partitioner.alhpa=1"], "'alpha'"),
    "option alone": (["--set", "alpha=0.1"], "partitioner.alpha=0.1"),
    "two methods": (["fedprox"], "fedprox and --method fedavg"),
    "seeds": (["--seeds", "2", "--seed", "1"], "--seeds 2 and --seed 1"),
    "seeds twice": (["--seed", "1,1"], "--seed 1,1"),
    "no value": (["--set", "partitioner.alpha"], "--set partitioner.alpha"),
    "mixed": (["--backbones", "tiny,wide"], "tiny, wide"),
    "type": (["--rounds", "many"], "--rounds: got 'many'"),
    "range": (["--set", "partitioner.alpha=-1"], "alpha=-1"),
    "rounds": (["--rounds", "0"], "--rounds: got '0'"),
    "both": (["--epochs", "2"], "--epochs or --steps"),
    "relay": (["--aggregator", "relay"], "relay"),
    "sites": (["--partitioner", "sites", "--set", "dataset.sites=2"], "--clients 2"),
    "clients": (["--clients", "25", "--partitioner", "iid"], "--clients 25"),
    "dirichlet": (["--clients", "20", "--set", "partitioner.alpha=0.001"], "Dirichlet"),
    "config": (["--config", "missing.toml"], "--config missing.toml"),
    "flag": (["--round", "3"], "--round"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_request_is_refused_before_anything_is_written(go, case) -> None:
    flags, named = WRONG[case]
    result = go(*flags)
    assert (result.exit_code, result.stdout) == (2, "")
    assert named in result.stderr
    assert "Traceback" not in result.stderr
    assert not Path("out").exists()


def _npz(path: Path, **changes) -> Path:
    rng = np.random.default_rng(0)
    arrays = {}
    for split, size in (("train", 30), ("val", 12), ("test", 12)):
        arrays[f"{split}_images"] = rng.integers(0, 255, (size, 8, 8, 3), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(size) % 3)[:, None].astype(np.uint8)
    np.savez(path, **{**arrays, **changes})
    return path


def _with_sites(path: Path) -> Path:
    sites = np.array(["North", "South", "East", "West", "Center"])
    return _npz(path, train_sites=np.resize(sites, 30), val_sites=np.resize(sites, 12), test_sites=np.resize(sites, 12))


SITES = ["--dataset", "npz:own.npz", "--partitioner", "sites"]
NAMES = ["Center", "East", "North", "South", "West"]


def test_every_site_is_a_client_unless_their_number_is_given(go) -> None:
    _with_sites(Path("own.npz"))
    command = ["--method", "fedavg", *SITES, "--backbones", "tiny"]
    rows = json.loads(CliRunner().invoke(fedbench, ["partition", *command, "--json"]).stdout)
    assert [(row["client"], row["site"]) for row in rows] == list(enumerate(NAMES))
    flags = ["--rounds", "1", "--steps", "1", "--batch-size", "2", "--executor", "serial", "--out", "out", "--json"]
    record = json.loads(CliRunner().invoke(fedbench, ["run", *command, *flags]).stdout)
    assert (record["spec"]["clients"], record["population"]["sites"]) == (5, NAMES)
    refused = go(*SITES, "--clients", "4")
    assert (refused.exit_code, "--clients 5" in refused.stderr) == (2, True)
    assert "sites" not in json.loads(go("--json").stdout)["population"]


def test_npz_file_is_a_dataset(go) -> None:
    _npz(Path("own.npz"))
    result = go("--dataset", "npz:own.npz", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["data"]["official"] is False


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda path: path.write_bytes(_npz(path).read_bytes()[:-40]), "own.npz"),
        (lambda path: path.write_bytes(b"no archive"), "own.npz"),
        (lambda path: _npz(path, train_images=np.zeros((30, 8, 8, 3))), "train_images"),
        (lambda path: _npz(path, test_labels=np.full((12, 1), 2.5)), "test_labels"),
        (lambda path: _npz(path, train_labels=np.array([[object()]] * 30)), "own.npz"),
        (Path.exists, "own.npz"),
    ],
    ids=["truncated", "no archive", "dtype", "labels", "pickled", "missing"],
)
def test_damaged_npz_file_is_refused_by_name(go, damage, named) -> None:
    damage(Path("own.npz"))
    result = go("--dataset", "npz:own.npz")
    assert (result.exit_code, result.stdout) == (1, "")
    assert named in result.stderr
    assert "Traceback" not in result.stderr
    assert not Path("out").exists()


def test_dataset_without_files_or_network_is_refused_with_an_alternative(go, monkeypatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    Path("data").mkdir()
    result = go("--dataset", "bloodmnist", "--data-root", "data")
    assert result.exit_code == 1
    assert "bloodmnist.npz" in result.stderr
    assert "phantom" in result.stderr


def test_faulty_update_ends_the_run_and_keeps_finished_rounds(go) -> None:
    result = go("--set", "local_update.fault=nan", "--rounds", "4", method="kit-faulty")
    assert (result.exit_code, result.stdout) == (1, "")
    assert all(text in result.stderr for text in ("client 1", "round 1", "head.bias", "NaN"))
    [folder] = Path("out").iterdir()
    rows = csv.DictReader((folder / "clients.csv").read_text().splitlines())
    assert [row["round"] for row in rows] == ["0"] * 3
    assert not (folder / "record.json").exists()


def test_folder_that_cannot_be_written_is_refused_before_training(go) -> None:
    Path("file").write_text("")
    result = go("--out", "file/runs")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "--out" in result.stderr
    assert "rounds  " not in result.stderr


def test_partition_prints_the_images_of_each_client_and_class(kit, cli) -> None:  # noqa: ARG001  # its parts must be installed
    flags = ["--dataset", "spots", "--clients", "3", "--partitioner", "iid", "--set", "dataset.train=31"]
    rows = json.loads(cli("partition", *flags, "--json").stdout)
    assert [row["client"] for row in rows] == [0, 1, 2]
    assert [row["train"] for row in rows] == [11, 10, 10]
    assert sum(row[f"kind {kind}"] for row in rows for kind in range(3)) == 31
    assert (sum(row["val"] for row in rows), sum(row["test"] for row in rows)) == (24, 30)
    table = cli("partition", *flags).stdout.splitlines()
    assert table[0].split() == ["client", "kind", "0", "kind", "1", "kind", "2", "train", "val", "test"]
    assert len(table) == 4


def test_partition_is_that_of_the_run(kit, cli, go) -> None:  # noqa: ARG001  # its parts must be installed
    flags = ["--dataset", "spots", "--clients", "3", "--seed", "4"]
    rows = json.loads(cli("partition", *flags, "--json").stdout)
    split = json.loads(go("--seed", "4", "--json").stdout)["population"]["images"]
    assert split == {split: [row[split] for row in rows] for split in ("train", "val", "test")}


def test_partition_that_is_impossible_is_refused(kit, cli) -> None:  # noqa: ARG001  # its parts must be installed
    result = cli("partition", "--dataset", "spots", "--clients", "25", "--partitioner", "iid")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--clients 25" in result.stderr


def _check_interrupted(folder: Path, last: str) -> None:
    """The folder of an interrupted run has whole files, and the last line on stderr tells how to resume."""
    assert last.startswith("Interrupted.")
    assert f"fedbench resume {folder}" in last
    assert not (folder / "record.json").exists()
    assert not [path for path in folder.rglob("*") if path.name.endswith(".part")]
    for name in ("clients.csv", "messages.csv"):
        text = (folder / name).read_text()
        assert text.endswith("\n")
        assert len({line.count(",") for line in text.splitlines()}) == 1


def test_ctrl_c_ends_a_serial_run_that_resume_finishes(go, monkeypatch) -> None:
    def interrupt(event) -> str:
        if event.done == 2:
            raise KeyboardInterrupt
        return ""

    with monkeypatch.context() as patch:
        patch.setattr(progress, "_status", interrupt)
        result = go("--rounds", "3")
    assert (result.exit_code, result.stdout) == (130, "")
    [folder] = Path("out").iterdir()
    _check_interrupted(folder, result.stderr.splitlines()[-1])
    resumed = CliRunner().invoke(fedbench, ["resume", str(folder), "--executor", "serial", "--json"])
    assert resumed.exit_code == 0, resumed.stderr
    assert json.loads(resumed.stdout)["spec"]["rounds"] == 3


@pytest.mark.slow
def test_ctrl_c_ends_all_processes_of_a_run(environment, tmp_path) -> None:
    flags = [*SMALL, "--rounds", "2000", "--workers", "2", "--out", str(tmp_path / "out")]
    process = subprocess.Popen(
        [sys.executable, "-c", f"{HANDLE_SIGINT}; {MAIN}", "run", "--method", "fedavg", *flags],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a terminal sends the signal to the whole group
    )
    try:
        for line in process.stderr:
            if line.startswith("3/"):
                break
        os.killpg(process.pid, signal.SIGINT)
        stdout, stderr = process.communicate(timeout=300)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert (process.returncode, stdout) == (130, "")
    assert "Traceback" not in stderr
    [folder] = (tmp_path / "out").iterdir()
    _check_interrupted(folder, stderr.splitlines()[-1])


def test_wrong_request_is_exit_2_of_the_process(environment) -> None:
    command = [sys.executable, "-c", MAIN, "run", "--method", "fedprox", *SMALL, "--lr", "-1"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: --lr: got '-1'")


def test_part_that_a_flag_replaces_loses_its_options_from_the_config(kit, tmp_path) -> None:  # noqa: ARG001  # installed
    from fedbench_core.cli.flags import read_spec  # noqa: PLC0415  # only here

    settings = {"method": "kit-thrifty", "backbones": ["tiny"], "dataset": "npz:x.npz", "compressor": "kit-top"}
    options = {"compressor.keep": 0.5, "partitioner.alpha": 0.1, "dataset.kind": "binary", "aggregator.uniform": True}
    config = tmp_path / "record.json"
    config.write_text(json.dumps({"spec": {**settings, "set": options}}))
    assert read_spec({}, config).set == options
    assert read_spec({"partitioner": "iid"}, config).set.keys() == options.keys() - {"partitioner.alpha"}
    assert read_spec({"dataset": "npz:y.npz"}, config).set.keys() == options.keys() - {"dataset.kind"}
    other = read_spec({"method": "fedavg"}, config)
    assert (other.compressor, other.set.keys()) == (None, {"partitioner.alpha", "dataset.kind"})
