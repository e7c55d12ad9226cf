"""The cases that a contract between server, clients and parts has to carry, and the faults it has to name."""

import pandas as pd
import pytest
import torch

from fedbench_core import RunSpec, run
from fedbench_core.api import Payload, RunError
from fedbench_core.federation.participation import participating
from fedbench_core.runner import How

FAULTY = "local update kit-faulty of fedbench-kit 1.0"


def _tensors(blob):
    return Payload.from_bytes(blob).tensors


def _turns(finished):
    return pd.read_csv(finished.folder / "clients.csv")


def test_client_that_never_took_part_has_no_own_model_and_undefined_scores(go) -> None:
    finished = go("local", clients=4, rounds=1, fraction=0.25)
    [trained] = _turns(finished)["client"]
    test = finished.record["test"]
    assert test["matrix"]["predictor_of_client"] == [0 if client == trained else None for client in range(4)]
    assert test["undefined"]["personalization"] == 3
    assert test["metrics"]["personalization"] == test["matrix"]["label"][0][trained]
    assert test["metrics"]["n"] == finished.record["population"]["images"]["test"][trained]


def test_round_with_fewer_scored_clients_is_not_selected(go) -> None:
    """One client takes part in each round: the mean over one client must not win against those over more."""
    record = go("local", clients=4, rounds=9, fraction=0.25, **{"partitioner.alpha": 0.2}).record
    taking_part = _turns(go("local", clients=4, rounds=9, fraction=0.25, **{"partitioner.alpha": 0.2}))["client"]
    complete = next(number for number in range(9) if taking_part[: number + 1].nunique() == taking_part.nunique())
    curve = [point["personalization"] for point in record["curve"]]
    assert record["selected"]["round"] == max(range(complete, 9), key=lambda number: curve[number])
    assert complete > 0


def test_clients_of_which_none_ever_took_part_have_undefined_scores(go, spec) -> None:
    asked = {"clients": 2, "rounds": 1, "dropout": 0.9}
    seed = next(seed for seed in range(50) if not participating(spec(seed=seed, **asked), 2, 0))
    test = go("local", seed=seed, **asked).record["test"]
    assert test["role"] == "model"
    assert test["metrics"]["personalization"] is None
    assert test["matrix"]["predictor_of_client"] == [None, None]


def test_client_that_never_took_part_is_scored_with_the_global_model(go) -> None:
    finished = go("fedavg", clients=4, rounds=2, fraction=0.25)
    assert set(_turns(finished)["client"]) < {0, 1, 2, 3}
    assert finished.record["test"]["matrix"]["predictor_of_client"] == [0, 0, 0, 0]


def test_evaluation_is_not_a_turn(go) -> None:
    finished = go("kit-pair", clients=4, rounds=6, fraction=0.5)
    for _, own in _turns(finished).groupby("client"):
        assert own["turns"].tolist() == list(range(1, len(own) + 1))


def _owed(said, sent):
    """Replays an error memory: what was sent is the largest entries of what was said plus what was owed."""
    owed = dict.fromkeys(_tensors(said[0]), 0.0)
    for number, (one, other) in enumerate(zip(said, sent, strict=True)):
        for name, value in _tensors(one).items():
            if not value.is_floating_point():
                continue
            due, went = value + owed[name], _tensors(other)[name]
            assert torch.equal(went[went != 0], due[went != 0]), f"message {number} forgot what was owed"
            assert (went != 0).sum() <= max(1, int(0.25 * due.numel()))
            left = due[went == 0]
            assert not len(left) or left.abs().max() <= went[went != 0].abs().min()
            owed[name] = due - went
    return owed


def test_a_server_whose_compressor_keeps_an_error_memory(go, tap) -> None:
    down = tap("downlink", keep=0.25)
    finished = go("fedavg", rounds=5, **down.settings)
    said, sent = ([blob for _, blob in log] for log in (down.said, down.sent))
    assert len(said) == 5
    owed = _owed(said, sent)
    assert all(value.abs().sum() > 0 for name, value in owed.items() if name.endswith("weight"))
    forgetful = go("fedavg", rounds=5, downlink="kit-top", **{"downlink.keep": 0.25, "downlink.feedback": False})
    assert _turns(forgetful)["loss"].tolist() != _turns(finished)["loss"].tolist()


def test_clients_keep_an_error_memory_each_over_rounds_they_miss(go, tap) -> None:
    up = tap("compressor", keep=0.25)
    finished = go("fedavg", clients=3, rounds=9, fraction=0.34, downlink="dense", **up.settings)
    senders = _turns(finished)["client"].tolist()
    said, sent = ([blob for _, blob in log] for log in (up.said, up.sent))
    assert len(senders) == len(said) == 9
    assert max(senders.count(client) for client in range(3)) > 2
    for client in set(senders):
        mine = [number for number, sender in enumerate(senders) if sender == client]
        _owed([said[number] for number in mine], [sent[number] for number in mine])


def test_a_student_of_the_teachers_own_backbone_is_no_twin(go) -> None:
    turns = _turns(go("kit-pair", rounds=1))
    assert (turns["teacher_and_student"] > 1).all()
    assert (turns["student_and_twin"] == 0).all()


def test_teacher_and_student_are_two_roles_the_teacher_stays_at_home(go) -> None:
    test = go("kit-pair", rounds=4, steps=6).record["test"]
    assert (test["role"], list(test["roles"])) == ("teacher", ["student"])
    assert test["matrix"]["predictor_of_client"] == [0, 1, 2]
    assert test["roles"]["student"]["matrix"]["predictor_of_client"] == [0, 0, 0]


@pytest.mark.parametrize("way", ["compressor", "downlink"])
def test_what_a_compressor_notes_is_recorded_once(way, go, monkeypatch) -> None:
    ways = {"compressor": "dense", "downlink": "dense", way: "svd"}
    assert go("fedavg", fresh=True, **ways).record["notes"] == []
    for decompose in ("eigh", "svd"):
        monkeypatch.setattr(torch.linalg, decompose, _diverge)
    (note,) = go("fedavg", fresh=True, **ways).record["notes"]
    assert note == "svd found no decomposition of conv.weight, head.weight at times and sent it whole."


def _diverge(*_args, **_options):
    raise torch.linalg.LinAlgError("did not converge")


def test_a_round_with_nobody_present_is_skipped_and_recorded(go, tap) -> None:
    server = tap("downlink")
    asked = {"clients": 2, "rounds": 8, "dropout": 0.6}
    finished = go("fedavg", **asked, **server.settings)
    spec = RunSpec.of(finished.record["spec"])
    nobody = [round_ for round_ in range(8) if not participating(spec, 2, round_)]
    assert 0 < len(nobody) < 8, "choose another dropout: this test needs empty and other rounds"
    assert finished.record["rounds_skipped"] == nobody
    assert set(_turns(finished)["round"]) == set(range(8)) - set(nobody)
    assert [round_ for round_, _ in server.said] == sorted(set(range(8)) - set(nobody))
    curve = [point["personalization"] for point in finished.record["curve"]]
    assert len(curve) == 8
    for round_ in nobody:
        assert round_ == 0 or curve[round_] == curve[round_ - 1]


def test_a_run_to_which_nobody_came_is_recorded_with_initial_weights(go, spec) -> None:
    asked = {"clients": 2, "rounds": 1, "dropout": 0.9}
    seed = next(seed for seed in range(50) if not participating(spec(seed=seed, **asked), 2, 0))
    finished = go("fedavg", seed=seed, **asked)
    assert finished.record["rounds_skipped"] == [0]
    assert finished.record["costs"]["bytes_up"] == 0
    assert len(_turns(finished)) == 0
    assert finished.record["test"]["metrics"]["n"] == 30


def test_a_client_that_forgets_everything_has_forgotten_it(go) -> None:
    turns = _turns(go("kit-moody", rounds=5))
    for _, own in turns.groupby("client"):
        assert own["remembers"].tolist() == [-1, 0, -1, 2, -1]


def test_rare_commits_change_nothing(go, spec, tmp_path) -> None:
    rare = run(spec("kit-moody", rounds=5), How(out=tmp_path, executor="serial", checkpoint_every=3))
    assert (rare.folder / "clients.csv").read_bytes() == (go("kit-moody", rounds=5).folder / "clients.csv").read_bytes()


def test_what_torch_draws_differs_by_client_round_and_step_and_is_the_same_again(go) -> None:
    asked = {"topology": "ring", "aggregator": "relay", "rounds": 3, "topology.hops": 2}
    draws = _turns(go("kit-moody", **asked))["draw"].tolist()
    assert len(set(draws)) == len(draws) == 3 * 3 * 2
    assert _turns(go("kit-moody", fresh=True, evaluate_every=0, **asked))["draw"].tolist() == draws


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("nan", f"{FAULTY}: tensor 'head.bias' of its update holds NaN"),
        ("infinity", f"{FAULTY}: tensor 'head.bias' of its update holds infinity"),
        ("mutate", f"{FAULTY}: it changed the payload it received"),
        ("raise", f"{FAULTY} raised ZeroDivisionError: by zero ("),
        ("weight", f"{FAULTY}: its update has num_examples -1.0; expected the number of training images"),
        ("memory", f"{FAULTY}: memory holds tensors, numbers and strings; 'thoughts' is of type list"),
        ("none", f"{FAULTY}: what train returned is of type NoneType; expected Update"),
        ("metrics", "its metrics differ from those of earlier turns in mood"),
    ],
)
def test_a_fault_stops_the_run_and_names_who_and_when_and_what_is_recorded_stays(spec, tmp_path, fault, says) -> None:
    with pytest.raises(RunError) as caught:
        run(spec("kit-faulty", rounds=4, **{"local_update.fault": fault}), How(out=tmp_path, executor="serial"))
    assert str(caught.value).startswith(f"client 1, round 1: {says}")
    [folder] = tmp_path.iterdir()
    assert not (folder / "record.json").exists()
    assert pd.read_csv(folder / "clients.csv")["round"].tolist() == [0, 0, 0]
    assert pd.read_csv(folder / "messages.csv")["round"].tolist() == [0, 0, 0]


def test_a_fault_in_the_first_turn_leaves_no_rows(spec, tmp_path) -> None:
    options = {"local_update.fault": "nan", "local_update.client": 0, "local_update.round": 0}
    with pytest.raises(RunError, match="client 0, round 0"):
        run(spec("kit-faulty", **options), How(out=tmp_path, executor="serial"))
    [folder] = tmp_path.iterdir()
    assert not (folder / "record.json").exists()
