"""Small runs: what is sent, absent clients, and what is refused."""

import csv
import math

import numpy as np
import pytest

from fedbench_core import RunSpec
from fedbench_core.api import Payload, RequestError
from fedbench_core.models import TimmArchitecture
from fedbench_core.runner import How, run


def images_file(folder, *shape):
    """An npz file of noise whose brightness depends on one of three classes."""
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in {"train": 72, "val": 12, "test": 12}.items():
        labels = np.arange(count) % 3
        images = rng.integers(0, 120, (count, *shape)) + 60 * labels.reshape(-1, *[1] * len(shape))
        arrays |= {f"{split}_images": images.astype(np.uint8), f"{split}_labels": labels}
    path = folder / f"images{'x'.join(map(str, shape))}.npz"
    np.savez(path, **arrays)
    return path


def start(folder, shape=(28, 28), **settings):
    spec = RunSpec.of(
        {
            "method": "fedskd",
            "dataset": f"npz:{images_file(folder, *shape)}",
            "partitioner": "iid",
            "batch_size": 8,
            "steps": 1,
            "evaluate_every": 0,
            **settings,
            "set": {"local_update.warmup": 0, **settings.get("set", {})},
        }
    )
    return run(spec, How(out=folder / "runs", cache=folder / "cache", executor="serial"))


def table(finished, name):
    with (finished.folder / name).open(newline="") as stream:
        return list(csv.DictReader(stream))


def size(backbone, owner):
    net = TimmArchitecture(backbone).build(3, 1, 28)
    return len(Payload.of(net, meta={"owner": str(owner), "backbone": backbone}).to_bytes())


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A transformer in a ring with convolutional networks, until every traveler has returned."""
    return start(tmp_path_factory.mktemp("mixed"), backbones="test_resnet,test_vit", clients=3, rounds=4)


class TestMixedRing:
    def test_messages_are_one_whole_model_per_client_and_hop(self, mixed):
        backbones = mixed.record["population"]["backbones"]
        assert backbones == ["test_resnet", "test_vit", "test_resnet"]
        sent = table(mixed, "messages.csv")
        assert [(int(row["round"]), int(row["sender"]), int(row["receiver"])) for row in sent] == [
            (number, client, (client + 1) % 3) for number in range(4) for client in range(3)
        ]
        for row in sent:
            owner = (int(row["sender"]) - int(row["round"])) % 3
            assert int(row["bytes"]) == int(row["bytes_dense"]) == size(backbones[owner], owner)

    def test_bytes_are_all_between_peers(self, mixed):
        costs = mixed.record["costs"]
        assert costs["bytes_up"] == costs["bytes_down"] == 0
        assert costs["bytes_peer"] == sum(int(row["bytes"]) for row in table(mixed, "messages.csv"))

    def test_metrics_of_every_turn_are_finite(self, mixed):
        rows = table(mixed, "clients.csv")
        assert len(rows) == 12
        assert all(math.isfinite(float(value)) for row in rows for value in row.values())
        hosting = [row for row in rows if row["round"] in "12"]
        assert all(float(row[f"similarity_{level}"]) > 0 for row in hosting for level in ("batch", "pixel", "region"))
        assert {row["steps"] for row in hosting} == {"2"}

    def test_lambda_starts_at_one_over_the_number_of_clients(self, mixed, tmp_path):
        flat = start(tmp_path, backbones="test_resnet,test_vit", clients=3, rounds=2, set={"local_update.ramp": False})
        for grown, full in zip(table(mixed, "clients.csv")[3:6], table(flat, "clients.csv")[3:6], strict=True):
            for level in ("batch", "pixel", "region"):
                name = f"similarity_{level}"
                assert float(grown[name]) == pytest.approx(float(full[name]) / 3, rel=1e-4)

    def test_record_notes_the_reconstruction_and_the_compared_stages(self, mixed):
        assert mixed.record["method"]["fidelity"] == "reconstruction"
        resnet, vit = mixed.record["notes"]
        assert "test_resnet at stage 5 of 5, a map of 96 x 4 x 4" in resnet
        assert "test_vit at stage 6 of 6, a map of 64 x 7 x 7" in vit
        assert mixed.record["test"]["role"] == "resident"


def test_absent_clients_are_skipped_and_keep_their_inbox(tmp_path):
    settings = {"clients": 5, "rounds": 5, "fraction": 0.8, "dropout": 0.3, "seed": 3}
    finished = start(tmp_path, backbones="test_resnet,test_efficientnet", **settings)
    backbones = finished.record["population"]["backbones"]
    owners, ever, sizes = {}, set(), set()
    for number in range(settings["rounds"]):
        present = [int(row["client"]) for row in table(finished, "clients.csv") if row["round"] == str(number)]
        sent = [row for row in table(finished, "messages.csv") if row["round"] == str(number)]
        ring = dict(zip(present, [*present[1:], *present[:1]], strict=True))
        sizes.add(len(present))
        assert [(int(row["sender"]), int(row["receiver"])) for row in sent] == [
            (one, other) for one, other in ring.items() if one != other
        ]
        carried = {ring[client]: owners.get(client, client) for client in present}
        for row in sent:
            owner = carried[int(row["receiver"])]
            assert int(row["bytes"]) == size(backbones[owner], owner)
        owners |= carried
        ever |= set(present)
        assert sorted(owners.values()) == sorted(ever)
    assert len(sizes) > 1  # absence varied


@pytest.mark.slow  # the data of volumes is verified in tests/data
def test_volumes_have_their_depth_as_channels(tmp_path):
    finished = start(tmp_path, (5, 28, 28), backbones="test_resnet,test_efficientnet", clients=2, rounds=2)
    assert finished.record["data"]["image_shape"] == [5, 28, 28]
    assert all(float(row["similarity_pixel"]) > 0 for row in table(finished, "clients.csv") if row["round"] == "1")


def test_backbone_without_locations_is_refused_before_the_run(tmp_path):
    with pytest.raises(RequestError, match=r"test_resnet.*3 x 3.*at least 4"):
        start(tmp_path, (6, 6), backbones="test_resnet", clients=2, rounds=1, set={"backbone.stem": "timm"})
    assert not (tmp_path / "runs").exists()
