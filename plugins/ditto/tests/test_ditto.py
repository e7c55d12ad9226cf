"""Ditto's steps by hand, what it equals without the pull, and faults that public code has."""

import copy
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from fedbench_core.api import Payload, Training, Update
from fedbench_core.learning import fit, load_global
from fedbench_core.registry import registry
from fedbench_core.testing.toys import ToyBuilder, ToyFederation, toy_client, toy_moment
from fedbench_ditto import Ditto

ONE_STEP = Training(steps=1, batch_size=64, lr=0.1, momentum=0.0)


def _federation(update, training=None) -> ToyFederation:
    return ToyFederation(update, [toy_client(number, images=16 + 4 * number) for number in range(3)], training=training)


def _bytes(net: nn.Module) -> bytes:
    return Payload.of(net).to_bytes()


def test_term_and_its_gradient_by_hand() -> None:
    net = nn.Linear(2, 1, bias=False)
    nn.init.constant_(net.weight, 3.0)
    term = Ditto(0.5).proximal(net, {"weight": torch.ones(1, 2)})
    term.backward()
    assert term.item() == 0.5 / 2 * (4 + 4)
    assert net.weight.grad.tolist() == [[1.0, 1.0]]  # lambda (v - w_t)


def test_pull_is_on_parameters_only() -> None:
    net = ToyBuilder().backbone("toy8")
    start = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
    net.norm.running_mean += 5
    assert Ditto(1.0).proximal(net, start).item() == 0


def _assert_step_is_the_papers(update: Ditto) -> None:
    """v <- v - lr (gradient of F_k at v + lambda (v - w_t)), where v and the received w_t differ."""
    federation = _federation(update, ONE_STEP)
    federation.round(0)
    client, received = federation.clients[0], federation.received
    before = copy.deepcopy(client.models["personal"]).train()
    assert not torch.equal(before.head.weight, received.tensors["head.weight"])
    images, labels = client.train.tensors()
    federation.context(1).task.loss(before(images), labels).backward()
    federation.round(1)
    after = dict(client.models["personal"].named_parameters())
    for name, v in before.named_parameters():
        step = 0.1 * (v.grad + 2.0 * (v.detach() - received.tensors[name]))
        torch.testing.assert_close(after[name], v.detach() - step, rtol=0, atol=1e-6)


def _assert_global_model_is_fedavg(update: Ditto) -> None:
    personal, plain = _federation(update), _federation(registry().make("local_update", "fedavg", {}))
    for number in range(3):
        personal.round(number)
        plain.round(number)
        assert personal.received.to_bytes() == plain.received.to_bytes()


def test_personal_step_is_that_of_the_paper() -> None:
    _assert_step_is_the_papers(Ditto(2.0))


def test_global_model_is_fedavg_to_the_bit() -> None:
    _assert_global_model_is_fedavg(Ditto(0.7))


def _assert_default_is_not_local(update: Ditto) -> None:
    federation, alone = _federation(update), _federation(Ditto(0.0))
    for number in range(2):
        federation.round(number)
        alone.round(number)
    nets = [group.clients[0].models["personal"] for group in (federation, alone)]
    assert _bytes(nets[0]) != _bytes(nets[1]), "the default does not personalize: it is local training"


def test_without_pull_the_personal_model_is_local_training_to_the_bit() -> None:
    federation = _federation(Ditto(0.0))
    for number in range(3):
        federation.round(number)
    for client in federation.clients:
        alone = ToyBuilder().backbone("toy8")
        for number in range(3):
            fit(alone, client.train, toy_moment(number, node=client.id))
        assert _bytes(client.models["personal"]) == _bytes(alone)


def test_default_pulls() -> None:
    _assert_default_is_not_local(Ditto())


def test_pull_brings_models_together() -> None:
    def spread(strength: float) -> float:
        federation = _federation(Ditto(strength))
        for number in range(3):
            federation.round(number)
        weights = [client.models["personal"].body.weight for client in federation.clients]
        return torch.stack(weights).std(dim=0).mean().item()

    assert spread(5.0) < spread(0.0) / 1.5


def test_absent_client_keeps_its_personal_model() -> None:
    federation = _federation(Ditto())
    federation.round(0)
    before = _bytes(federation.clients[1].models["personal"])
    federation.round(1, [0, 2])
    assert _bytes(federation.clients[1].models["personal"]) == before


@dataclass(frozen=True)
class PulledToTrained(Ditto):
    """The pull is to the w that is being trained, not to the one that was received."""

    def train(self, client, received, ctx) -> Update:
        trained = load_global(received, client.backbone, ctx)
        fit(trained, client.train, ctx)
        return super().train(client, Payload.of(trained), ctx)


@dataclass(frozen=True)
class SendsPersonal(Ditto):
    """The personal model is sent."""

    def train(self, client, received, ctx) -> Update:
        return replace(super().train(client, received, ctx), payload=Payload.of(client.models["personal"]))


def test_faults_are_caught() -> None:
    with pytest.raises(AssertionError, match="not close"):
        _assert_step_is_the_papers(PulledToTrained(2.0))
    with pytest.raises(AssertionError):
        _assert_global_model_is_fedavg(SendsPersonal(0.7))
    with pytest.raises(AssertionError, match="does not personalize"):
        _assert_default_is_not_local(Ditto(0.0))  # PFLlib's default
