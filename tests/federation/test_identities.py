"""What must hold to the bit, or by a formula, between whole runs."""

import json

import pandas as pd
import pytest
import torch

from fedbench_core import RunSpec
from fedbench_core.api import Payload
from fedbench_core.federation.assembly import resolve
from fedbench_core.federation.networks import Networks
from fedbench_core.federation.participation import participating
from fedbench_core.records.record import comparable
from fedbench_core.runner import How, load

SERVER = -1


def _messages(finished) -> pd.DataFrame:
    return pd.read_csv(finished.folder / "messages.csv")


def _turns(finished) -> pd.DataFrame:
    return pd.read_csv(finished.folder / "clients.csv")


def _tensors(blob):
    return Payload.from_bytes(blob).tensors


def test_fedprox_without_a_pull_is_fedavg_to_the_bit(go, tap, tmp_path) -> None:
    (tmp_path / "prox").mkdir()
    fedavg, server = tap("downlink"), {}
    asked = {"partitioner.alpha": 0.3, "epochs": 2}
    plain = go("fedavg", **asked, **fedavg.settings)
    server["fedavg"] = fedavg.said
    prox_settings = {**fedavg.settings, "downlink.path": str(tmp_path / "prox")}
    prox = go("fedprox", **asked, **prox_settings, **{"local_update.mu": 0})
    server["fedprox"] = [
        (int(path.name.split(".")[2]), path.read_bytes()) for path in sorted((tmp_path / "prox").glob("*.said.*"))
    ]
    assert len(server["fedavg"]) == 3
    assert server["fedprox"] == server["fedavg"]
    assert prox.record["test"] == plain.record["test"]
    assert prox.record["curve"] == plain.record["curve"]
    assert _turns(prox).drop(columns="proximal").equals(_turns(plain))
    assert set(_turns(prox)["proximal"]) == {0}
    pulled = go("fedprox", **asked, **{"local_update.mu": 1})
    assert _turns(pulled)["loss"].tolist() != _turns(plain)["loss"].tolist()


@pytest.mark.parametrize("clients", [1, 3, 5])
def test_one_full_batch_step_everywhere_is_one_centralized_gradient_step(go, spec, tap, clients) -> None:
    server = tap("downlink")
    asked = {"backbones": "plain", "clients": clients, "rounds": 1, "epochs": 1, "batch_size": 60, "lr": 0.5}
    go("fedavg", momentum=0, **asked, **server.settings)
    [(_, merged)] = server.said
    setting = resolve(spec("fedavg", **asked))
    splits = load(setting, How())
    net = Networks(setting.architectures, {}, splits, 0, "cpu").backbone("plain")
    images, labels = splits.train.tensors()
    splits.task.loss(net(images), labels).backward()
    for name, parameter in net.named_parameters():
        stepped = parameter.detach() - 0.5 * parameter.grad
        assert (stepped - parameter).abs().max() > 1e-4
        torch.testing.assert_close(_tensors(merged)[name], stepped, rtol=0, atol=1e-6)


def test_bytes_are_the_lengths_of_the_blobs_that_were_decoded(go, tap) -> None:
    up, down = tap("compressor", keep=0.5), tap("downlink", keep=0.5)
    finished = go("fedavg", rounds=4, **up.settings, **down.settings)
    messages = _messages(finished)
    sent = messages[messages.receiver == SERVER]
    assert sent.bytes.tolist() == [len(blob) for _, blob in up.sent]
    assert up.decoded == [(0, blob) for _, blob in up.sent]
    assert sent.bytes_dense.tolist() == [len(blob) for _, blob in up.said]
    received = messages[messages.sender == SERVER]
    broadcasts = dict(down.sent)
    assert received.bytes.tolist() == [len(broadcasts[round_ - 1]) for round_ in received["round"]]
    assert {blob for _, blob in down.decoded} == set(broadcasts.values())
    costs = finished.record["costs"]
    assert (costs["bytes_up"], costs["bytes_down"]) == (sent.bytes.sum(), received.bytes.sum())
    assert costs["bytes_dense"] == messages.bytes_dense.sum()
    turns, last = _turns(finished), received[received["round"] == 4]
    assert costs["bytes_down_after"] == last.bytes.sum() == 3 * len(broadcasts[3])
    assert (turns.bytes_up.sum(), turns.bytes_down.sum() + last.bytes.sum()) == (sent.bytes.sum(), received.bytes.sum())


@pytest.mark.parametrize(
    ("method", "settings", "after"),
    [
        ("fedavg", {}, True),
        ("fedprox", {}, True),
        ("fedavg-ft", {}, True),
        ("ditto", {}, False),  # its headline stays with the client, its further role is the global model
        ("kit-pair", {}, False),
        ("fedper", {}, True),  # received body, own head
        ("fedper", {"local_update.share": False}, False),
    ],
    ids=str,
)
def test_download_after_the_last_round_counts_where_scored_models_need_it(go, method, settings, after) -> None:
    finished = go(method, rounds=3, **settings)
    messages = _messages(finished)
    for client in range(3):
        own = messages[messages.receiver == client]
        assert own["round"].tolist() == ([1, 2, 3] if after else [] if settings else [1, 2])
    last = messages[messages["round"] == 3]
    assert finished.record["costs"]["bytes_down_after"] == last.bytes.sum()


@pytest.mark.parametrize("absence", [{"fraction": 0.4}, {"dropout": 0.6}, {"fraction": 0.7, "dropout": 0.4}], ids=str)
def test_downloads_are_the_turns_at_which_something_lay_at_the_server(go, absence) -> None:
    finished = go("fedavg", clients=5, rounds=6, **absence)
    rounds = [participating(RunSpec.of(finished.record["spec"]), 5, round_) for round_ in range(6)]
    began = next(number for number, there in enumerate(rounds) if there)
    messages = _messages(finished)
    up, down = messages[messages.receiver == SERVER], messages[messages.sender == SERVER]
    expected = [(round_, client) for round_, there in enumerate(rounds) for client in there]
    assert list(zip(up["round"], up.sender, strict=True)) == expected
    last = [(6, client) for client in range(5)]  # also those that were absent have the scored model
    assert list(zip(down["round"], down.receiver, strict=True)) == [
        *(turn for turn in expected if turn[0] > began),
        *last,
    ]


def test_a_ring_sends_from_inbox_to_inbox(go) -> None:
    finished = go("fedavg", topology="ring", aggregator="relay", rounds=2)
    messages = _messages(finished)
    assert list(zip(messages.sender, messages.receiver, strict=True)) == [(0, 1), (1, 2), (2, 0)] * 2
    costs = finished.record["costs"]
    assert (costs["bytes_up"], costs["bytes_down"]) == (0, 0)
    assert costs["bytes_peer"] == messages.bytes.sum()


def test_what_is_left_on_the_own_inbox_is_neither_sent_nor_compressed(go, tap) -> None:
    way = tap("compressor", keep=0.1)
    finished = go("fedavg", topology="ring", clients=1, rounds=3, **way.settings)
    assert finished.record["costs"]["bytes_peer"] == 0
    assert (way.said, way.decoded) == ([], [])
    alone = go("local", clients=1, rounds=3)
    assert finished.record["test"]["metrics"] == alone.record["test"]["metrics"]


def test_half_sends_half_to_within_its_header(go, spec) -> None:
    asked = {"backbones": "test_resnet", "rounds": 2, "clients": 2, "steps": 1}
    whole, halved = (_messages(go("fedavg", compressor=name, **asked)).bytes for name in ("dense", "half"))
    setting = resolve(spec("fedavg", **asked))
    net = Networks(setting.architectures, {}, load(setting, How()), 0, "cpu").backbone("test_resnet")
    blob = bytes(Payload.of(net).to_bytes())
    header = 8 + int.from_bytes(blob[:8], "little")
    assert set(whole) == {len(blob)}
    assert (halved - (len(blob) - header) / 2).between(0, header + 512).all()
    assert halved.max() < 0.52 * len(blob)


def test_the_receiver_trains_on_the_rounded_weights(go, tap) -> None:
    """With a learning rate too small to move anything, clients say what they received."""
    up = tap("compressor")
    go("fedavg", backbones="plain", clients=1, rounds=2, lr=1e-12, downlink="half", **up.settings)
    (_, first), (_, second) = up.said
    initial = _tensors(first)
    assert any(not torch.equal(value, value.half().float()) for value in initial.values())
    for name, value in _tensors(second).items():
        assert torch.equal(value, initial[name].half().float())


def test_the_server_merges_the_rounded_weights(go, tap) -> None:
    down = tap("downlink")
    go("fedavg", backbones="plain", clients=1, rounds=1, compressor="half", **down.settings)
    for value in _tensors(down.said[0][1]).values():
        assert torch.equal(value, value.half().float())


@pytest.mark.parametrize("method", ["fedavg", "fedprox", "local", "centralized", "fedavg-ft", "kit-pair"])
def test_the_same_command_twice_gives_the_same_record_but_for_how(go, method) -> None:
    first, second = (go(method, fresh=True, fraction=0.7, epochs=1) for _ in range(2))
    records = [json.loads((run.folder / "record.json").read_text()) for run in (first, second)]
    assert records[0]["how"] != records[1]["how"]
    assert comparable(records[0]) == comparable(records[1])
    for name in ("clients.csv", "messages.csv"):
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes()


@pytest.mark.parametrize("method", ["fedavg", "local", "centralized"])
def test_another_seed_is_another_run(go, method) -> None:
    first, second = (go(method, seed=seed) for seed in (0, 1))
    assert first.folder.name != second.folder.name
    assert _turns(first)["loss"].tolist() != _turns(second)["loss"].tolist()
    assert first.record["spec_digest"] != second.record["spec_digest"]


def test_a_finished_run_is_not_run_again(go) -> None:
    first, second = go("fedavg"), go("fedavg")
    assert (second.before, second.record) == (True, json.loads((first.folder / "record.json").read_text()))


def test_the_global_generators_are_left_as_they_were(go) -> None:
    before = torch.get_rng_state()
    go("fedavg", fresh=True)
    assert torch.equal(before, torch.get_rng_state())


def test_local_says_nothing_and_keeps_learning(go) -> None:
    finished = go("local", rounds=4, steps=4)
    costs = finished.record["costs"]
    assert (costs["bytes_up"], costs["bytes_down"], costs["bytes_peer"]) == (0, 0, 0)
    assert len(_messages(finished)) == 0
    turns = _turns(finished)
    for _, own in turns.groupby("client"):
        assert own["loss"].tolist()[-1] < own["loss"].tolist()[0]
    assert finished.record["test"]["matrix"]["predictor_of_client"] == [0, 1, 2]


def test_centralized_trains_one_model_on_all_images_and_tests_it_on_everybodys(go) -> None:
    finished = go("centralized", rounds=4, epochs=2)
    record = finished.record
    assert _turns(finished)["num_examples"].tolist() == [60] * 4
    assert record["population"]["trained"] == 1
    assert record["test"]["matrix"]["predictor_of_client"] == [0, 0, 0]
    assert record["test"]["metrics"]["n"] == 30
    assert record["test"]["metrics"]["personalization"] == pytest.approx(record["test"]["metrics"]["generalization"])
    assert record["test"]["metrics"]["balanced_accuracy"] > 0.6


def test_centralized_model_is_fine_tuned_by_each_client(go) -> None:
    plain, tuned = (go(method, rounds=2).record["test"] for method in ("centralized", "centralized-ft"))
    record = go("centralized-ft", rounds=2).record
    assert (record["population"]["trained"], record["costs"]["bytes_up"]) == (1, 0)
    assert record["costs"]["prediction_gflops"] > 0
    assert tuned["matrix"]["predictor_of_client"] == [0, 1, 2]
    assert plain["matrix"]["predictor_of_client"] == [0, 0, 0]
    turns = [_turns(go(method, rounds=2)) for method in ("centralized", "centralized-ft")]
    assert turns[0].equals(turns[1])


def test_centralized_is_the_same_model_however_the_images_are_dealt(go) -> None:
    even, skewed = (go("centralized", **{"partitioner.alpha": alpha}).record["test"]["metrics"] for alpha in (100, 0.1))
    for name in ("global_accuracy", "balanced_accuracy", "auc", "f1"):
        assert even[name] == skewed[name]


def test_fine_tuning_adds_a_role_and_leaves_the_global_model_as_fedavg_has_it(go) -> None:
    tuned, plain = go("fedavg-ft").record["test"], go("fedavg").record["test"]
    assert (tuned["role"], list(tuned["roles"])) == ("tuned", ["global"])
    assert tuned["roles"]["global"]["metrics"] == plain["metrics"]
    assert tuned["matrix"]["predictor_of_client"] == [0, 1, 2]
    assert (go("fedavg-ft").folder / "messages.csv").read_bytes() == (go("fedavg").folder / "messages.csv").read_bytes()


def test_the_selected_round_is_the_best_on_validation_never_on_test(go) -> None:
    record = go("fedavg", rounds=6, **{"partitioner.alpha": 0.1}).record
    scores = [point["personalization"] for point in record["curve"]]
    assert [point["split"] for point in record["curve"]] == ["val"] * 6
    assert record["selected"]["round"] == scores.index(max(scores))
    assert record["test"]["round"] == 5
    on_test = go("fedavg", rounds=6, evaluate_on="test", **{"partitioner.alpha": 0.1}).record
    assert on_test["selected"] is None
    assert on_test["curve"][-1]["personalization"] == on_test["test"]["metrics"]["personalization"]


def test_evaluating_more_often_changes_nothing_else(go) -> None:
    often, never = go("fedavg").record, go("fedavg", evaluate_every=0).record
    assert often["test"] == never["test"]
    assert never["curve"] == []
