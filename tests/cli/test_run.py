"""`fedbench run`, `resume` and `partition`: what they print, and what a wrong request ends with."""

import csv
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from fedbench_core import RunSpec
from fedbench_core.cli.group import COMMANDS, fedbench
from fedbench_core.records.record import comparable

MAIN = "from fedbench_core.cli import main; main()"
COMMAND = [sys.executable, "-c", MAIN]
# What starts pytest in the background makes its children deaf to Ctrl-C.
HEARS_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
SMALL = "--backbones tiny --dataset spots --clients 3 --rounds 2 --steps 2 --batch-size 8".split()  # noqa: SIM905  # as typed


@pytest.fixture
def go(kit, tmp_path, monkeypatch):  # noqa: ARG001  # its parts must be installed
    """`fedbench run` with small settings, of which later flags win, in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEDBENCH_CACHE", str(tmp_path / "cache"))

    def start(*flags: str, method: str = "fedavg"):
        arguments = ["run", "--method", method, *SMALL, "--executor", "serial", "--out", "out", *flags]
        return CliRunner().invoke(fedbench, arguments, prog_name="fedbench")

    return start


def _command(name):
    return fedbench.get_command(None, name)


@pytest.mark.parametrize("command", ["run", "partition"])
def test_every_setting_of_a_spec_has_a_flag(command) -> None:
    options = {option for parameter in _command(command).params for option in parameter.opts}
    assert {f"--{name.replace('_', '-')}" for name in RunSpec.model_fields} <= options
    assert "--config" in options


@pytest.mark.parametrize("command", sorted(COMMANDS.keys() - {"plot", "reference"}))  # a picture and a page
def test_every_command_that_prints_a_table_prints_json_on_request(command) -> None:
    found = _command(command)
    for each in getattr(found, "commands", {command: found}).values():
        assert "--json" in {option for parameter in each.params for option in parameter.opts}


def test_a_run_ends_with_a_table_and_a_whole_folder(go) -> None:
    result = go()
    assert result.exit_code == 0, result.stderr
    for words in ("global, after 2 rounds", "personalization", "generalization", "balanced accuracy", "AUC"):
        assert words in result.stdout
    for words in (
        "worst client",
        "sent",
        "up",
        "down",
        "peer",
        "Means over 3 clients",
        "Papers quote 2 R",
        "recorded in",
    ):
        assert words in result.stdout
    assert "2/2 rounds" in result.stderr
    [folder] = Path("out").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["messages.csv", "record.json", "clients.csv"]
    record = json.loads((folder / "record.json").read_text(), parse_constant=pytest.fail)
    assert record["how"]["executor"] == "serial"


def test_the_same_command_finds_its_run_again_and_fresh_repeats_it(go) -> None:
    first, again, fresh = go(), go(), go("--fresh")
    assert "Already done" not in first.stdout
    assert "Already done: these are the recorded scores." in again.stdout
    assert "Already done" not in fresh.stdout
    assert len(list(Path("out").iterdir())) == 2


def test_json_is_the_record_and_nothing_else(go) -> None:
    result = go("--json")
    [record] = Path("out").glob("*/record.json")
    assert json.loads(result.stdout) == json.loads(record.read_text())
    assert result.stderr == ""


def test_fine_tuning_has_a_column_for_each_role(go) -> None:
    stdout = go(method="fedavg-ft").stdout
    assert "tuned, after 2 rounds" in stdout
    assert "global, after 2 rounds" in stdout


def test_rounds_without_anybody_are_told(go) -> None:
    result = go("--dropout", "0.7", "--rounds", "6", "--clients", "2")
    [record] = Path("out").glob("*/record.json")
    skipped = json.loads(record.read_text())["rounds_skipped"]
    assert skipped
    assert f"Rounds with nobody present (the first is 0): {', '.join(map(str, skipped))}." in result.stdout


def test_flags_win_over_the_config_file(go) -> None:
    Path("run.toml").write_text('rounds = 9\nlr = 0.3\nepochs = 5\n[set]\n"partitioner.alpha" = 5.0\n')
    result = go("--config", "run.toml", "--set", "dataset.train=45", "--json")
    spec = json.loads(result.stdout)["spec"]
    assert (spec["rounds"], spec["lr"], spec["steps"], spec["epochs"]) == (2, 0.3, 2, None)
    assert (spec["set"]["partitioner.alpha"], spec["set"]["dataset.train"]) == (5.0, 45)


def test_a_record_is_a_config(go) -> None:
    first = json.loads(go("--json", "--set", "partitioner.alpha=0.7").stdout)
    [record] = Path("out").glob("*/record.json")
    arguments = ["run", "--config", str(record), "--out", "again", "--executor", "serial", "--json"]
    again = json.loads(CliRunner().invoke(fedbench, arguments).stdout)
    assert comparable(again) == comparable(first)


WRONG = {
    "method": (["--method", "fedavgg"], "No method named 'fedavgg'. Did you mean 'fedavg'"),
    "part": (["--compressor", "halff"], "No compressor named 'halff'. Did you mean 'half'? Available: "),
    "dataset": (["--dataset", "spot"], "No dataset named 'spot'. Did you mean 'spots'? Available: "),
    "backbone": (["--backbones", "resnet19"], "No backbone named 'resnet19'"),
    "option": (["--set", "partitioner.alhpa=1"], "No option of partitioner 'dirichlet' named 'alhpa'. Did you mean"),
    "no value": (["--set", "partitioner.alpha"], "--set partitioner.alpha: expected PART.OPTION=VALUE"),
    "mixed": (["--backbones", "tiny,wide"], "or a method for mixed backbones: "),
    "type": (["--rounds", "many"], "--rounds: got 'many'"),
    "range": (["--set", "partitioner.alpha=-1"], "does not accept alpha=-1: alpha must be a number >= 0.0001"),
    "rounds": (["--rounds", "0"], "--rounds: got '0'; input should be greater than or equal to 1"),
    "both": (["--epochs", "2"], "give --epochs or --steps, not both"),
    "relay": (["--aggregator", "relay"], "aggregator relay takes one message per place"),
    "sites": (["--partitioner", "sites", "--set", "dataset.sites=2"], "Use --clients 2."),
    "clients": (["--clients", "25", "--partitioner", "iid"], "24 val images, fewer than --clients 25"),
    "dirichlet": (["--clients", "20", "--set", "partitioner.alpha=0.001"], "None of 1000 Dirichlet draws"),
    "config": (["--config", "missing.toml"], "Give a TOML file of settings"),
    "flag": (["--round", "3"], "No such option"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_request_is_exit_2_and_a_sentence_before_anything_is_written(go, case) -> None:
    flags, says = WRONG[case]
    result = go(*flags)
    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr
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


def test_an_npz_of_ones_own_runs(go) -> None:
    _npz(Path("own.npz"))
    result = go("--dataset", "npz:own.npz", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["data"]["official"] is False


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda path: path.write_bytes(_npz(path).read_bytes()[:-40]), "own.npz"),
        (lambda path: path.write_bytes(b"no archive"), "own.npz"),
        (lambda path: _npz(path, train_images=np.zeros((30, 8, 8, 3))), "train_images"),
        (lambda path: _npz(path, test_labels=np.full((12, 1), 2.5)), "test_labels"),
        (lambda path: _npz(path, train_labels=np.array([[object()]] * 30)), "Python objects"),
        (Path.exists, "No file"),
    ],
    ids=["truncated", "no archive", "dtype", "labels", "pickled", "missing"],
)
def test_a_file_that_is_wrong_is_exit_1_and_named(go, damage, says) -> None:
    damage(Path("own.npz"))
    result = go("--dataset", "npz:own.npz")
    assert (result.exit_code, result.stdout) == (1, "")
    assert says in result.stderr
    assert "Traceback" not in result.stderr
    assert not Path("out").exists()


def test_a_dataset_that_cannot_be_had_says_where_it_is_looked_for(go, monkeypatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    Path("data").mkdir()
    result = go("--dataset", "breastmnist", "--data-root", "data")
    assert result.exit_code == 1
    assert "breastmnist.npz" in result.stderr
    assert "phantom" in result.stderr


def test_a_faulty_update_is_exit_1_and_what_was_recorded_stays(go) -> None:
    result = go("--set", "local_update.fault=nan", "--rounds", "4", method="kit-faulty")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "1.0: tensor 'head.bias' of its update holds NaN" in result.stderr
    [folder] = Path("out").iterdir()
    rows = csv.DictReader((folder / "clients.csv").read_text().splitlines())
    assert [row["round"] for row in rows] == ["0"] * 3
    assert not (folder / "record.json").exists()


def test_a_folder_that_cannot_be_written_is_exit_1_before_training(go) -> None:
    Path("file").write_text("")
    result = go("--out", "file/runs")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "can't be written: Not a directory. Give another --out." in result.stderr
    assert "round 1/" not in result.stderr


def test_a_broken_plugin_does_not_hinder_others(go, distribution) -> None:
    from fedbench_core.registry import registry  # noqa: PLC0415  # only here

    distribution("fedbench-broken", "raise OSError('no disk')")
    registry.cache_clear()
    assert go().exit_code == 0
    registry.cache_clear()


def test_partition_shows_clients_by_classes(kit, cli) -> None:  # noqa: ARG001  # its parts must be installed
    flags = ["--dataset", "spots", "--clients", "3", "--partitioner", "iid", "--set", "dataset.train=31"]
    rows = json.loads(cli("partition", *flags, "--json").stdout)
    assert [row["client"] for row in rows] == [0, 1, 2]
    assert [row["train"] for row in rows] == [11, 10, 10]
    assert sum(row[f"kind {kind}"] for row in rows for kind in range(3)) == 31
    assert (sum(row["val"] for row in rows), sum(row["test"] for row in rows)) == (24, 30)
    table = cli("partition", *flags).stdout.splitlines()
    assert table[0].split() == ["client", "kind", "0", "kind", "1", "kind", "2", "train", "val", "test"]
    assert len(table) == 4


def test_partition_shows_what_run_deals_out(kit, cli, go) -> None:  # noqa: ARG001  # its parts must be installed
    flags = ["--dataset", "spots", "--clients", "3", "--seed", "4"]
    rows = json.loads(cli("partition", *flags, "--json").stdout)
    dealt = json.loads(go("--seed", "4", "--json").stdout)["population"]["images"]
    assert dealt == {split: [row[split] for row in rows] for split in ("train", "val", "test")}


def test_partition_refuses_what_run_refuses(kit, cli) -> None:  # noqa: ARG001  # its parts must be installed
    result = cli("partition", "--dataset", "spots", "--clients", "25", "--partitioner", "iid")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "24 val images" in result.stderr


def _environment(kit, tmp_path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(kit), "FEDBENCH_CACHE": str(tmp_path / "cache")}


@pytest.mark.parametrize("executor", ["serial", "processes"])
def test_ctrl_c_is_exit_130_with_whole_files_and_how_to_go_on(kit, tmp_path, executor) -> None:
    flags = [*SMALL, "--rounds", "2000", "--executor", executor, "--workers", "2", "--out", str(tmp_path / "out")]
    process = subprocess.Popen(
        [sys.executable, "-c", f"{HEARS_CTRL_C}; {MAIN}", "run", "--method", "fedavg", *flags],
        env=_environment(kit, tmp_path),
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
        stdout, stderr = process.communicate(timeout=60)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert (process.returncode, stdout) == (130, "")
    [folder] = (tmp_path / "out").iterdir()
    last = stderr.splitlines()[-1]
    assert last.startswith("Interrupted.")
    assert f"fedbench resume {folder}" in last
    assert "Traceback" not in stderr
    assert not (folder / "record.json").exists()
    assert not [path for path in folder.rglob("*") if path.name.endswith(".part")]
    for name in ("clients.csv", "messages.csv"):
        text = (folder / name).read_text()
        assert text.endswith("\n")
        assert len({line.count(",") for line in text.splitlines()}) == 1


def test_a_real_process_runs_and_a_wrong_one_ends_with_2(kit, tmp_path) -> None:
    environment = _environment(kit, tmp_path)
    command = [*COMMAND, "run", "--method", "fedprox", *SMALL, "--executor", "serial", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "personalization" in done.stdout
    wrong = subprocess.run([*command, "--lr", "-1"], env=environment, capture_output=True, text=True, check=False)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == "Error: --lr: got '-1'; input should be greater than 0\n"


def test_what_a_flag_swaps_takes_its_options_from_a_config_along(kit, tmp_path) -> None:  # noqa: ARG001  # installed
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
