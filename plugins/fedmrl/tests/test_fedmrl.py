"""What FedMRL nests, trains, keeps and shares, and faults that public code has."""

from dataclasses import dataclass

import pytest
import torch
from torch.nn import functional as F

from fedbench_core.api import Payload, RequestError, Training
from fedbench_core.testing.toys import ToyFederation, toy_client, toy_moment
from fedbench_fedmrl import FedMRL

UPDATE = FedMRL(small="toy6", size=4)
BACKBONES = ("toy8", "toy12", "toy8")


def _federation(update=UPDATE, clients=3, training=None) -> ToyFederation:
    members = [toy_client(number, BACKBONES[number], 16 + 4 * number) for number in range(clients)]
    return ToyFederation(update, members, training=training)


def _weights(module) -> bytes:
    return bytes(Payload.of(module).to_bytes())


def test_nested_representation_by_hand() -> None:
    federation = _federation()
    federation.round(0)
    client, images = federation.clients[1], toy_client(1).train.tensors()[0]
    large, small = client.models["large"].eval(), client.models["small"].eval()
    fusion, short, head = (client.modules[name] for name in ("fusion", "representation", "head"))
    joined = torch.cat([short(small.outputs(images).embedding), large.outputs(images).embedding], dim=1)
    fused = joined @ fusion.weight.T + fusion.bias
    assert fused.shape[1] == 12
    models = UPDATE.predictors(client, None, federation.context(1, 1))
    torch.testing.assert_close(models["large"](images), large.head(fused))
    torch.testing.assert_close(models["small"](images), fused[:, :4] @ head.weight.T + head.bias)


def test_loss_is_the_sum_of_both_cross_entropies() -> None:
    federation = _federation(training=Training(steps=1, batch_size=16))
    client = federation.clients[0]
    UPDATE.setup(client, federation.context(0, 0))
    images, labels = client.train.tensors()
    model = UPDATE.whole(client, "large").train()
    logits = model.logits(images, model.large.outputs(images))
    expected = [F.cross_entropy(logits[name], labels).item() for name in ("large", "small")]
    metrics = _federation(training=Training(steps=1, batch_size=16)).round(0)[0].metrics
    assert [metrics["loss"], metrics["small"]] == pytest.approx(expected, rel=1e-5)


def _assert_mean_is_of_all_clients(update) -> None:
    federation = _federation(update)
    sent = [one.payload.tensors for one in federation.round(0).values()]
    for name, value in federation.received.tensors.items():
        if value.is_floating_point():
            expected = (16 * sent[0][name] + 20 * sent[1][name] + 24 * sent[2][name]) / 60
            torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-6)
    assert not torch.equal(sent[0]["net.body.weight"], sent[1]["net.body.weight"])


def test_published_model_is_the_mean_of_all_clients() -> None:
    _assert_mean_is_of_all_clients(UPDATE)


def _assert_map_is_kept(update) -> None:
    """The map that joins the representations goes on from turn to turn, and predicts."""
    federation = _federation(update)
    seen = []
    for number in range(3):
        federation.round(number)
        client = federation.clients[0]
        seen.append(client.modules["fusion"].weight.detach().clone())
        model = update.predictors(client, federation.received, federation.context(number, 0))["large"]
        assert torch.equal(model.fusion.weight, seen[-1])
    start = toy_moment(0, modules=FedMRL.modules).build_module("fusion", in_features=12, out_features=8).weight
    moved = [(one - start).norm().item() for one in seen]
    assert moved[0] > 0
    assert not torch.equal(seen[1] - seen[0], seen[1] - start)
    assert (seen[2] - seen[1]).norm().item() < moved[2]


def test_map_of_a_client_is_kept() -> None:
    _assert_map_is_kept(UPDATE)


def test_only_the_small_model_travels() -> None:
    federation = _federation()
    for update in federation.round(0).values():
        tensors = update.payload.tensors
        assert {name.split(".")[0] for name in tensors} == {"net", "projection", "output"}
        assert not [name for name in tensors if name.startswith("net.head")]
        assert tensors["projection.weight"].shape == (4, 6)
        assert tensors["output.weight"].shape == (3, 4)


def test_client_goes_on_from_the_received_small_model() -> None:
    training = Training(steps=1, batch_size=8, lr=0.0)
    federation = _federation(training=training)
    federation.round(0)
    received = Payload({n: v + 1 if v.is_floating_point() else v for n, v in federation.received.tensors.items()})
    UPDATE.train(federation.clients[0], received, federation.context(1, 0))
    kept = UPDATE.whole(federation.clients[0], "large").small.used()
    assert torch.equal(kept["net.body.weight"], received.tensors["net.body.weight"])


def test_without_sharing_nothing_travels_and_others_do_not_matter() -> None:
    weights = []
    for clients in (1, 3):
        federation = _federation(FedMRL(small="toy6", size=4, share=False), clients)
        for number in range(2):
            assert all(update.payload is None for update in federation.round(number).values())
        weights.append(_weights(UPDATE.whole(federation.clients[0], "large")))
    assert weights[0] == weights[1]


@pytest.mark.parametrize("size", [8, 9])
def test_embedding_that_is_not_longer_is_refused(size) -> None:
    update = FedMRL(small="toy6", size=size)
    with pytest.raises(RequestError, match=rf"{size} entries.*toy8.* 8\. Use --set local_update\.size=4") as error:
        update.check(toy_client(0), toy_moment(0, modules=FedMRL.modules))
    assert error.value.exit_code == 2
    assert update.check(toy_client(0, "toy12"), toy_moment(0)) == ()


_SHARED = {}


@dataclass(frozen=True)
class OneSmallModel(FedMRL):
    """As the authors' code: all clients train one object, and what they sent is that object at the end."""

    def setup(self, client, ctx):
        super().setup(client, ctx)
        client.models["small"] = _SHARED.setdefault("small", client.models["small"])


@dataclass(frozen=True)
class MapNotSaved(FedMRL):
    """As HtFLlib's client: the trained map is not saved."""

    def train(self, client, received, ctx):
        before = {name: value.clone() for name, value in client.modules["fusion"].state_dict().items()}
        update = super().train(client, received, ctx)
        client.modules["fusion"].load_state_dict(before)
        return update


def test_faults_of_public_code_are_caught() -> None:
    federation = _federation(OneSmallModel(small="toy6", size=4))
    sent = {}
    for client in federation.clients:
        federation.update.setup(client, federation.context(0, client.id))
        sent[client.id] = federation.update.train(client, None, federation.context(0, client.id)).payload
    assert _same(sent[0], sent[2]), "the variant is not faulty"
    assert not _same(*[one.payload for one in list(_federation().round(0).values())[::2]])
    with pytest.raises(AssertionError):
        _assert_map_is_kept(MapNotSaved(small="toy6", size=4))


def _same(one: Payload, other: Payload) -> bool:
    return torch.equal(one.tensors["net.body.weight"], other.tensors["net.body.weight"])
