import pytest

from fedbench_core import RunSpec, run
from fedbench_core.api import RequestError
from fedbench_core.federation.spec import STEPS, read_config
from fedbench_core.records.record import comparable, read_record
from fedbench_core.runner import How


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("rounds", 0, "--rounds: got 0; input should be greater than or equal to 1"),
        ("rounds", "many", "--rounds: got 'many'"),
        ("clients", -1, "--clients: got -1"),
        ("epochs", 0, "--epochs: got 0"),
        ("steps", 0, "--steps: got 0"),
        ("batch_size", 0, "--batch-size: got 0"),
        ("lr", 0, "--lr: got 0"),
        ("lr", "inf", "--lr: got 'inf'"),
        ("lr", "nan", "--lr: got 'nan'"),
        ("momentum", 1, "--momentum: got 1"),
        ("weight_decay", -0.1, "--weight-decay: got -0.1"),
        ("weight_decay", "inf", "--weight-decay: got 'inf'"),
        ("optimizer", "lion", "--optimizer: got 'lion'; input should be 'sgd', 'adam' or 'adamw'"),
        ("fraction", 0, "--fraction: got 0"),
        ("fraction", 1.1, "--fraction: got 1.1"),
        ("dropout", 1, "--dropout: got 1"),
        ("limit", 0, "--limit: got 0"),
        ("seed", -1, "--seed: got -1"),
        ("evaluate_on", "train", "--evaluate-on: got 'train'"),
        ("evaluate_every", -1, "--evaluate-every: got -1"),
        ("threads", 0, "--threads: got 0"),
        ("device", "tpu", "--device: got 'tpu'"),
        ("backbones", (), "--backbones: got ()"),
        ("backbones", "a,,b", "--backbones: got ''"),
        ("method", "", "--method: got ''"),
        ("image_size", 0, "--image-size: got 0"),
    ],
)
def test_a_value_out_of_range_is_named_with_what_is_accepted(setting, value, says) -> None:
    with pytest.raises(RequestError) as caught:
        RunSpec.of({"method": "local", setting: value})
    assert str(caught.value).startswith(says), caught.value


def test_a_setting_that_does_not_exist_names_its_neighbors() -> None:
    with pytest.raises(RequestError, match=r"No setting named 'round'\. Did you mean 'rounds'"):
        RunSpec.of({"method": "local", "round": 3})


def test_a_spec_needs_a_method() -> None:
    with pytest.raises(RequestError, match="--method is missing"):
        RunSpec.of({})


def test_epochs_and_steps_together_are_refused() -> None:
    with pytest.raises(RequestError, match="--epochs or --steps, not both"):
        RunSpec.of({"method": "local", "epochs": 1, "steps": 1})


def test_the_budget_is_a_number_of_steps_unless_epochs_are_given() -> None:
    assert RunSpec(method="local").training.steps == STEPS
    assert (RunSpec(method="local", epochs=3).training.epochs, RunSpec(method="local", epochs=3).steps) == (3, None)
    assert RunSpec(method="local", steps=7).training.steps == 7
    assert RunSpec(method="local", steps=7).epochs is None


def test_backbones_are_a_list_with_commas() -> None:
    assert RunSpec.of({"method": "local", "backbones": "a, b"}).backbones == ("a", "b")


def test_text_from_a_command_line_is_read_as_the_settings_type() -> None:
    spec = RunSpec.of({"method": "local", "rounds": "7", "lr": "1e-3", "pretrained": "true"})
    assert (spec.rounds, spec.lr, spec.pretrained) == (7, 0.001, True)


def test_equal_specs_have_equal_digests_however_they_are_written() -> None:
    one = RunSpec.of({"method": "local", "rounds": "7", "set": {"partitioner.alpha": 1, "dataset.train": 64}})
    other = RunSpec.of({"set": {"dataset.train": 64, "partitioner.alpha": 1}, "rounds": 7, "method": "local"})
    assert one.digest == other.digest
    assert one.digest != RunSpec.of({"method": "local", "rounds": 8}).digest


def test_a_spec_is_frozen_and_validates_itself() -> None:
    spec = RunSpec(method="local")
    assert RunSpec.model_validate(spec) == spec
    assert RunSpec.model_validate(spec.model_dump()) == spec
    assert RunSpec.model_validate_json(spec.model_dump_json()) == spec
    with pytest.raises(ValueError, match="frozen"):
        spec.rounds = 9


TOML = """
method = "fedavg"
backbones = ["tiny"]
dataset = "spots"
rounds = 2
batch-size = 8
steps = 2
seed = 5

[set]
"dataset.train" = 48

[set.partitioner]
alpha = 2.5
"""


def test_a_toml_file_holds_what_the_flags_hold(tmp_path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(TOML)
    assert RunSpec.of(read_config(path)) == RunSpec(
        method="fedavg",
        backbones=("tiny",),
        dataset="spots",
        rounds=2,
        batch_size=8,
        steps=2,
        seed=5,
        set={"dataset.train": 48, "partitioner.alpha": 2.5},
    )


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("run.toml", "rounds = ", "Give a TOML file"),
        ("run.json", "{", "Give a TOML file"),
        ("run.json", "[1]", "expected a table of settings, got list"),
        ("missing.toml", None, "No such file"),
        ("run.toml", b"\xff\xfe", "Give a TOML file"),
    ],
)
def test_a_config_that_cannot_be_read_says_why(tmp_path, name, text, says) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(RequestError, match=says) as caught:
        read_config(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("method", ["fedavg", "kit-thrifty", "kit-asymmetric", "centralized"])
def test_a_record_fed_back_gives_the_same_bits(go, tmp_path, method) -> None:
    finished = go(method, **{"partitioner.alpha": "0.7"}, seed=3)
    again = run(RunSpec.of(read_config(finished.folder / "record.json")), How(out=tmp_path, executor="serial"))
    assert again.folder.name == finished.folder.name
    assert _but_how(again.folder) == _but_how(finished.folder)


def _but_how(folder):
    return comparable(read_record(folder))
