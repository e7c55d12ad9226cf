"""What FedPer and FedRep share, the steps of both phases by hand, and what the methods equal without their parts."""

import copy
from dataclasses import dataclass
from unittest.mock import patch

import pytest
import timm
import torch
from torch import nn

import fedbench_fedper
from fedbench_core.api import Payload, Training
from fedbench_core.learning import fit
from fedbench_core.registry import registry
from fedbench_core.testing.toys import ToyBuilder, ToyFederation, toy_client, toy_moment
from fedbench_fedper import FedPer, FedRep, body_modules

HEAD = {"head.weight", "head.bias"}


def _federation(update, training=None) -> ToyFederation:
    return ToyFederation(update, [toy_client(number, images=16 + 4 * number) for number in range(3)], training=training)


@pytest.mark.parametrize("update", [FedPer(), FedRep()], ids=["fedper", "fedrep"])
def test_body_is_averaged_and_the_head_stays(update) -> None:
    federation = _federation(update)
    sent = [one.payload.tensors for one in federation.round(0).values()]
    net = federation.clients[0].models["model"]
    assert net.state_dict().keys() - sent[0].keys() == HEAD
    # 16, 20 and 24 images
    mean = sum(images / 60 * one["stem.weight"] for images, one in zip((16, 20, 24), sent, strict=True))
    torch.testing.assert_close(federation.received.tensors["stem.weight"], mean)
    personal = federation.predictors(federation.clients[0], 0)["personal"]
    for name, value in personal.items():
        assert torch.equal(value, net.state_dict()[name] if name in HEAD else federation.received.tensors[name])
    heads = [client.models["model"].head.weight for client in federation.clients]
    assert not torch.equal(heads[0], heads[1])


@dataclass(frozen=True)
class WithoutHead(FedPer):
    def personal(self, net):
        return set()


def test_fedper_with_an_empty_head_is_fedavg_to_the_bit() -> None:
    plain, shared = _federation(registry().make("local_update", "fedavg", {})), _federation(WithoutHead())
    for number in range(3):
        plain.round(number)
        shared.round(number)
        assert shared.received.to_bytes() == plain.received.to_bytes()


def test_fedper_without_sharing_is_local_training_to_the_bit() -> None:
    federation = _federation(FedPer(share=False))
    for number in range(3):
        assert all(update.payload is None for update in federation.round(number).values())
    for client in federation.clients:
        alone = ToyBuilder().backbone("toy8")
        for number in range(3):
            fit(alone, client.train, toy_moment(number, node=client.id))
        assert Payload.of(client.models["model"]).to_bytes() == Payload.of(alone).to_bytes()


def _assert_bodies_never_move(update: FedRep) -> None:
    """With nothing but head steps the common body is the initial one, its statistics included."""
    federation, start = _federation(update), ToyBuilder().backbone("toy8").state_dict()
    for number in range(2):
        federation.round(number)
    for name, value in federation.received.tensors.items():
        assert torch.equal(value, start[name]), f"{name} of the body moved"
    assert not torch.equal(federation.clients[0].models["model"].head.weight, start["head.weight"])


def test_bodies_never_move_if_all_steps_are_the_heads() -> None:
    _assert_bodies_never_move(FedRep(head_share=1.0))


@pytest.mark.parametrize("recipe", [{"momentum": 0.9, "weight_decay": 0.1}, {"optimizer": "adam"}], ids=str)
def test_frozen_means_frozen_whatever_the_optimizer(recipe) -> None:
    federation = _federation(FedRep(head_share=0.0), Training(steps=3, batch_size=8, **recipe))
    federation.round(0)
    head, start = federation.clients[0].models["model"].head, ToyBuilder().backbone("toy8").head
    assert torch.equal(head.weight, start.weight)
    assert not torch.equal(federation.received.tensors["body.weight"], ToyBuilder().backbone("toy8").body.weight)


def test_one_step_of_each_phase_by_hand() -> None:
    """First the head, on the body in evaluation mode; then the body in training mode, on the new head."""
    training = Training(steps=2, batch_size=16, lr=0.1, momentum=0.0)
    client, ctx = toy_client(), toy_moment(training=training)
    update = FedRep(head_share=0.5)
    update.setup(client, ctx)
    net = copy.deepcopy(client.models["model"])
    images, labels = client.train.tensors()
    for mode, part in ((False, "head"), (True, "body")):
        net.train(mode).zero_grad()
        ctx.task.loss(net(images), labels).backward()
        with torch.no_grad():
            for name, parameter in net.named_parameters():
                if name.startswith("head.") == (part == "head"):
                    parameter.sub_(0.1 * parameter.grad)
    metrics = update.train(client, None, ctx).metrics
    for name, value in net.state_dict().items():
        torch.testing.assert_close(client.models["model"].state_dict()[name], value, rtol=0, atol=1e-6)
    assert (metrics["steps"], metrics["head_steps"]) == (2, 1)


@pytest.mark.parametrize(
    ("training", "share", "expected"),
    [
        (Training(epochs=5, batch_size=8), 0.8, (10, 8)),  # 16 images: two batches an epoch
        (Training(epochs=1, batch_size=8), 0.8, (2, 1)),  # the body has one at least
        (Training(epochs=1, batch_size=8), 1.0, (2, 2)),
        (Training(steps=5, batch_size=8), 0.5, (5, 3)),
        (Training(steps=4, batch_size=8), 0.0, (4, 0)),
    ],
)
def test_budget_is_divided(training, share, expected) -> None:
    client, ctx = toy_client(), toy_moment(training=training)
    update = FedRep(head_share=share)
    update.setup(client, ctx)
    metrics = update.train(client, None, ctx).metrics
    assert (metrics["steps"], metrics["head_steps"]) == expected
    assert metrics["loss"] > 0


def test_head_and_body_of_a_network_of_timm() -> None:
    net = timm.create_model("test_resnet")
    net.head = net.get_classifier()
    outside = {name for module in body_modules(net) for name, one in net.named_modules() if one is module}
    assert outside == {name for name, _ in net.named_modules()} - {"", "fc", "head"}


def test_absent_client_keeps_its_head() -> None:
    federation = _federation(FedPer())
    federation.round(0)
    before = federation.clients[1].models["model"].head.weight.clone()
    federation.round(1, [0, 2])
    assert torch.equal(federation.clients[1].models["model"].head.weight, before)


def _no_modules(_net: nn.Module) -> list[nn.Module]:
    """A body whose parameters are not trained, but which stays in training mode."""
    return []


@dataclass(frozen=True)
class SendsAll(FedRep):
    """The head travels, too."""

    def personal(self, net):
        return set()


def test_faults_are_caught() -> None:
    with (
        patch.object(fedbench_fedper, "body_modules", _no_modules),
        pytest.raises(AssertionError, match=r"norm\.\w+ of the body moved"),
    ):
        _assert_bodies_never_move(FedRep(head_share=1.0))
    with pytest.raises(AssertionError, match="head"):
        _assert_bodies_never_move(SendsAll(head_share=1.0))
