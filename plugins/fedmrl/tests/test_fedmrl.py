"""What FedMRL nests, trains, keeps and shares, and faults that public code has."""

import copy
from dataclasses import dataclass, replace

import pytest
import torch
from torch.nn import functional as F

from fedbench_core.api import SERVER, AggregatorState, Message, Payload, RequestError, Training
from fedbench_core.parts.aggregators import Mean
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


def _fused(model, images) -> torch.Tensor:
    """P of the small representation and the large embedding, in plain matrices."""
    short = model.small.net.outputs(images).embedding @ model.small.projection.weight.T + model.small.projection.bias
    joined = torch.cat([short, model.large.outputs(images).embedding], dim=1)
    return joined @ model.fusion.weight.T + model.fusion.bias


@pytest.mark.parametrize("small_weight", [0.0, 0.3, 1.0])
def test_step_after_an_evaluation_is_that_of_the_paper(small_weight) -> None:
    """One step of all parts on CE + m_l CE, in training mode, although the parts were evaluated before."""
    update, training = FedMRL(small="toy6", size=4, small_weight=small_weight), Training(steps=1, lr=0.1, momentum=0.0)
    federation = _federation(update, 1, training)
    federation.round(0)
    client = federation.clients[0]
    for model in update.predictors(client, federation.received, federation.context(0, 0)).values():
        model.eval()
    before = copy.deepcopy(update.whole(client, "large")).train()
    images, labels = client.train.tensors()
    fused = _fused(before, images)
    small = fused[:, :4] @ before.small.output.weight.T + before.small.output.bias
    large = F.cross_entropy(before.large.head(fused), labels)
    (large + small_weight * F.cross_entropy(small, labels)).backward()
    expected = {name: value.clone() for name, value in before.state_dict().items()}
    for name, parameter in before.named_parameters():
        if parameter.grad is not None:  # the small network's own head is not used
            expected[name] -= 0.1 * parameter.grad
    assert federation.round(1)[0].metrics["loss"] == pytest.approx(large.item(), rel=1e-5)
    for name, value in update.whole(client, "large").state_dict().items():
        torch.testing.assert_close(
            value, expected[name], rtol=0, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}"
        )


def _assert_prediction_is_with_the_own_small_model(update) -> None:
    """Not with the mean of all that is received at the same time."""
    federation = _federation(update)
    federation.round(0)
    client, images = federation.clients[1], toy_client(1).train.tensors()[0]
    own = copy.deepcopy(update.whole(client, "large")).eval()
    assert not torch.equal(own.small.projection.weight, federation.received.tensors["projection.weight"])
    fused = _fused(own, images)
    expected = {"large": own.large.head(fused), "small": own.small.output(fused[:, :4])}
    for name, model in update.predictors(client, federation.received, federation.context(1, 1)).items():
        torch.testing.assert_close(model.eval()(images), expected[name])


def test_prediction_is_with_the_small_model_that_the_client_trained() -> None:
    _assert_prediction_is_with_the_own_small_model(UPDATE)


def _assert_mean_is_of_all_clients(update) -> None:
    """What a client sends is what it trained, although the server reads it after the turns of all others."""
    federation = _federation(update)
    messages, trained = [], []
    for client in federation.clients:
        update.setup(client, federation.context(0, client.id))
        sent = update.train(client, None, federation.context(0, client.id))
        messages.append(Message(client.id, sent.payload, sent.num_examples))
        trained.append(Payload.from_bytes(sent.payload.to_bytes()).tensors)
    mean = Mean().start(AggregatorState(SERVER), federation.context(0))
    for message in messages:
        mean.add(message)
    for name, value in mean.result().tensors.items():
        if value.is_floating_point():
            expected = (16 * trained[0][name] + 20 * trained[1][name] + 24 * trained[2][name]) / 60
            torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-6)
    assert not torch.equal(trained[0]["net.body.weight"], trained[1]["net.body.weight"])


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
class ReceivedSmallModel(FedMRL):
    """As HtFLlib's client, which predicts with the small model that it received."""

    def predictors(self, client, received, ctx):
        models = copy.deepcopy(super().predictors(client, received, ctx))
        for model in models.values():
            received.load_into(model.small, partial=True)
        return models


@dataclass(frozen=True)
class MapNotSaved(FedMRL):
    """As HtFLlib's client: the trained map is not saved."""

    def train(self, client, received, ctx):
        before = {name: value.clone() for name, value in client.modules["fusion"].state_dict().items()}
        update = super().train(client, received, ctx)
        client.modules["fusion"].load_state_dict(before)
        return update


@dataclass(frozen=True)
class AllImagesCount(FedMRL):
    """As the authors' code: validation and test images, here 20 of each client, count in the weight."""

    def train(self, client, received, ctx):
        update = super().train(client, received, ctx)
        return replace(update, num_examples=update.num_examples + 20)


def test_faults_of_public_code_are_caught() -> None:
    _assert_mean_is_of_all_clients(UPDATE)
    for faulty in (OneSmallModel, AllImagesCount):
        with pytest.raises(AssertionError, match="not close"):
            _assert_mean_is_of_all_clients(faulty(small="toy6", size=4))
    with pytest.raises(AssertionError, match="not close"):
        _assert_prediction_is_with_the_own_small_model(ReceivedSmallModel(small="toy6", size=4))
    with pytest.raises(AssertionError):
        _assert_map_is_kept(MapNotSaved(small="toy6", size=4))
