"""Channels, servers that train, phases of different kinds, public images: what a round may consist of."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fedbench_core import RunSpec, run
from fedbench_core.api import Method, RequestError, RunError
from fedbench_core.federation.assembly import _with_requirements, resolve
from fedbench_core.runner import How, resume


@pytest.fixture(scope="module", autouse=True)
def _parts(kit, installed) -> None:  # noqa: ARG001  # the kit's backbones
    installed("fedbench-server", (Path(__file__).parent / "server_parts.py").read_text())


def clients(finished) -> pd.DataFrame:
    return pd.read_csv(finished.folder / "clients.csv")


def messages(finished) -> pd.DataFrame:
    return pd.read_csv(finished.folder / "messages.csv")


def test_client_reads_its_own_channel_only(go) -> None:
    """With a channel for each client that returns its own message, clients train as if alone."""
    own, alone = go("s-per-client", rounds=3), go("local", rounds=3)
    assert clients(own)["loss"].tolist() == clients(alone)["loss"].tolist()
    assert own.record["test"]["matrix"]["predictor_of_client"] == [0, 1, 2]


def test_channel_without_new_messages_keeps_its_payload(go) -> None:
    finished = go("s-per-client", clients=3, rounds=8, fraction=0.34)
    rows = clients(finished)
    for _, mine in rows.groupby("client"):
        assert mine["received"].iloc[0] == 0
        assert (mine["received"].iloc[1:] != 0).all()
    down = messages(finished).query("sender == -1 and round < 8")
    assert len(down) == len(rows) - rows["client"].nunique()


def test_channel_that_no_client_reads_is_refused(go) -> None:
    with pytest.raises(RunError, match=r"round 0: aggregator s-per-client .*'nobody'.*'0', '1', '2'"):
        go("s-per-client", **{"aggregator.publish": "nobody"})


@pytest.mark.parametrize("executor", ["serial", pytest.param("processes", marks=pytest.mark.slow)])
def test_server_that_trains_keeps_its_networks_and_gives_the_same_bits(spec, tmp_path, executor) -> None:
    """Also when it is stopped after each round and resumed."""
    whole = run(spec("s-learning", rounds=4), How(out=tmp_path / "whole", executor="serial"))

    class StopError(Exception):
        pass

    def stop(event) -> None:
        if event.done > stop.rounds:
            stop.rounds = event.done
            raise StopError

    stop.rounds = 0
    how = How(out=tmp_path / "stopped", executor=executor, workers=2)
    with pytest.raises(StopError):
        run(spec("s-learning", rounds=4), how, stop)
    [folder] = (tmp_path / "stopped").iterdir()
    for _ in range(3):
        with pytest.raises(StopError):
            resume(folder, how, stop)
    resumed = resume(folder, how)
    assert resumed.record["test"] == whole.record["test"]
    assert (folder / "clients.csv").read_text() == (whole.folder / "clients.csv").read_text()
    assert list(whole.record["test"]["roles"]) == ["server"]
    assert whole.record["test"]["roles"]["server"]["matrix"]["predictor_of_client"] == [0, 0, 0]


def test_server_that_trains_has_costs_of_its_own(go) -> None:
    """Per round 3 steps on 3 rows (forward, and the gradient of 9 weights), then 3 rows forward; 18 FLOPs each."""
    finished = go("s-learning", rounds=4)
    costs = finished.record["costs"]
    assert costs["aggregation_gflops"] == pytest.approx(4 * (3 * 3 * 2 * 18 + 3 * 18) / 1e9)
    assert finished.record["how"]["aggregation_seconds"] > 0
    assert go("s-mean").record["costs"]["aggregation_gflops"] == 0


def test_phases_have_kinds_and_what_is_published_is_received_in_the_next(go) -> None:
    finished = go("s-phases", rounds=2)
    rows, sent = clients(finished), messages(finished)
    assert rows["phase"].tolist() == [0, 0, 0, 1, 1, 1] * 2
    assert rows["digest"].tolist() == [0, 0, 0, 1, 1, 1] * 2
    assert (rows.query("phase == 0")["received"] == 0).all()
    assert rows.query("phase == 1").groupby("round")["received"].nunique().tolist() == [1, 1]
    assert (sent.query("phase == 0")["receiver"] == -1).all()
    assert (sent.query("phase == 1")["sender"] == -1).all()


def test_client_knows_its_turns_and_its_last_round(go) -> None:
    rows = clients(go("s-mean", clients=4, rounds=8, fraction=0.5))
    for _, mine in rows.groupby("client"):
        assert mine["turns"].tolist() == list(range(len(mine)))
        assert mine["last_round"].tolist() == [-1, *mine["round"].iloc[:-1]]


@pytest.mark.parametrize(
    ("fault", "told"), [("twice", "two turns of client 0"), ("absent", "node 99"), ("source", "receive from 2")]
)
def test_turns_that_cannot_be_are_refused_before_the_run(spec, fault, told) -> None:
    with pytest.raises(RunError, match=rf"topology s-two-phases of fedbench-server 1\.0: .*{told}"):
        resolve(spec("s-phases", **{"topology.fault": fault}))


def test_message_to_a_client_that_does_not_take_part_is_refused(spec, tmp_path) -> None:
    plan = {"topology.fault": "absent", "clients": 3, "dropout": 0.5, "rounds": 9}
    with pytest.raises(RunError, match=r"node 99|the inbox of client \d, which does not take part"):
        run(spec("s-phases", **plan), How(out=tmp_path, executor="serial"))


def test_public_images_are_downloaded_once_by_each_client_of_a_method_that_uses_them(go) -> None:
    finished = go("s-public", rounds=3, public="0.2")
    rows, down = clients(finished), messages(finished).query("sender == -1")
    size = 12 * 8 * 8 * 3
    assert rows["public"].tolist() == [1.0] * 9
    first = down.query("round == 0")
    assert (first["receiver"].tolist(), first["bytes"].tolist()) == ([0, 1, 2], [size] * 3)
    assert size not in down.query("round > 0")["bytes"].tolist()
    assert finished.record["data"]["public"] == {
        "name": "spots",
        "digest": finished.record["data"]["digest"],
        "images": 12,
    }
    assert sum(finished.record["population"]["images"]["train"]) == 48


def test_public_images_cost_nothing_where_they_are_not_used(go) -> None:
    costs = [go("s-mean", public=public, partitioner="iid").record["costs"]["bytes_down"] for public in (None, "0.2")]
    assert costs[0] == costs[1]


def test_method_that_needs_public_images_is_refused_without(spec) -> None:
    with pytest.raises(RequestError, match=r"s-public needs public images.*--public 0\.1"):
        resolve(spec("s-public"))


def test_required_settings_are_applied_and_others_refused(spec) -> None:
    resolved = resolve(spec("s-strict"))
    assert resolved.spec.momentum == 0
    assert resolve(resolved.spec).spec == resolved.spec
    with pytest.raises(RequestError, match=r"s-strict needs --momentum 0\.0; got --momentum 0\.9"):
        resolve(spec("s-strict", momentum=0.9))
    with pytest.raises(RequestError, match=r"s-strict needs .*--optimizer sgd; got --optimizer adam"):
        resolve(spec("s-strict", optimizer="adam"))


def test_required_budget_replaces_the_other(spec) -> None:
    for requires, budget in (({"epochs": 2}, (2, None)), ({"steps": 3}, (None, 3))):
        plain = RunSpec(**{**spec("s-mean").model_dump(), "steps": None, "epochs": None})
        found = _with_requirements(plain, Method("s-echo", requires=requires))
        assert (found.epochs, found.steps) == budget
        assert RunSpec.of(found.model_dump()) == found
    with pytest.raises(RequestError, match="momentun"):
        _with_requirements(spec("s-mean"), Method("s-echo", requires={"momentun": 0}))


def test_public_images_that_changed_are_noticed(spec, tmp_path) -> None:
    def write(seed: int) -> None:
        rng = np.random.default_rng(seed)
        arrays = {}
        for split in ("train", "val", "test"):
            arrays[f"{split}_images"] = rng.integers(0, 255, (12, 8, 8, 3), dtype=np.uint8)
            arrays[f"{split}_labels"] = np.arange(12)[:, None] % 2
        np.savez(tmp_path / "public.npz", **arrays)

    how = How(out=tmp_path / "runs", cache=tmp_path / "cache", executor="serial")
    wanted = spec("s-mean", public=f"npz:{tmp_path / 'public.npz'}")
    write(0)
    run(wanted, how)
    write(1)
    with pytest.raises(RequestError, match="public"):
        run(wanted, how)


def test_two_models_of_one_role_are_refused(spec, tmp_path) -> None:
    with pytest.raises(RunError, match="'mine'"):
        run(spec("s-mean", **{"local_update.twice": True}), How(out=tmp_path, executor="serial"))
