"""FML's losses by hand, what it equals without them, and faults that public code has."""

import copy
from dataclasses import dataclass, replace
from functools import partial
from math import log

import pytest
import torch
from torch.nn import functional as F

import fedbench_fml
from fedbench_core.api import Outputs, Payload, Task, Training
from fedbench_core.learning import ForwardPass, Terms, fit, fit_pair
from fedbench_core.registry import registry
from fedbench_core.testing.toys import ToyBuilder, ToyFederation, toy_client, toy_moment
from fedbench_fml import FML

TASK = Task("multi-class", ("a", "b", "c"))
ONE_STEP = Training(steps=1, batch_size=16, lr=0.1, momentum=0.0)
BACKBONES = ("toy8", "toy12", "toy8")


def fml(kind=FML, **options) -> FML:
    return kind(meme="toy12", **options)


def _federation(update, backbones=BACKBONES) -> ToyFederation:
    clients = [toy_client(number, backbone, 16 + 4 * number) for number, backbone in enumerate(backbones)]
    return ToyFederation(update, clients)


def _pass(probabilities) -> ForwardPass:
    logits = torch.tensor([[log(p) for p in row] for row in probabilities])
    return ForwardPass(Outputs(logits, torch.zeros(len(logits), 2), ()), torch.tensor(0.0))


def test_term_is_the_divergence_from_the_other_network_by_hand() -> None:
    own, other = [[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], [[0.5, 0.25, 0.25], [0.3, 0.3, 0.4]]
    rows = [pair for both in zip(own, other, strict=True) for pair in zip(*both, strict=True)]
    expected = sum(o * log(o / p) for p, o in rows) / 2  # summed over classes, averaged over the two images
    term = fml().terms(TASK, 0.2)(_pass(own), _pass(other))["mutual"].item()
    assert term == pytest.approx(0.8 * expected, rel=1e-5)


def _loss(weight, own, other, labels):
    p, q = own.softmax(1), other.detach().softmax(1)
    return weight * F.cross_entropy(own, labels) + (1 - weight) * (q * (q / p).log()).sum(1).mean()


def _assert_step_is_the_papers(update: FML) -> None:
    """One step of gradient descent on L_priv and L_meme, each by its own network."""
    client, ctx = toy_client(), toy_moment(training=ONE_STEP)
    update.setup(client, ctx)
    private, meme = (copy.deepcopy(client.models[role]).train() for role in ("private", "meme"))
    images, labels = client.train.tensors()
    logits = private(images), meme(images)
    _loss(update.alpha, logits[0], logits[1], labels).backward()
    _loss(update.beta, logits[1], logits[0], labels).backward()
    update.train(client, None, ctx)
    for role, before in (("private", private), ("meme", meme)):
        after = dict(client.models[role].named_parameters())
        for name, parameter in before.named_parameters():
            torch.testing.assert_close(after[name], parameter - 0.1 * parameter.grad, rtol=0, atol=1e-6)


def _assert_meme_is_fedavg(update: FML) -> None:
    memes = _federation(update)
    plain = _federation(registry().make("local_update", "fedavg", {}), ("toy12",) * 3)
    plain.published[""] = Payload.of(ToyBuilder().backbone("toy12", "meme"))  # where the meme starts
    for number in range(3):
        memes.round(number)
        plain.round(number)
        assert memes.received.to_bytes() == plain.received.to_bytes()


def test_step_is_that_of_the_paper() -> None:
    _assert_step_is_the_papers(fml(alpha=0.3, beta=0.6))


def test_private_network_that_learns_from_labels_alone_is_local_training_to_the_bit() -> None:
    federation = _federation(fml(alpha=1.0))
    for number in range(3):
        federation.round(number)
    for client in federation.clients:
        alone = ToyBuilder().backbone(client.backbone)
        for number in range(3):
            fit(alone, client.train, toy_moment(number, node=client.id))
        assert Payload.of(client.models["private"]).to_bytes() == Payload.of(alone).to_bytes()


def test_meme_that_learns_from_labels_alone_is_fedavg_to_the_bit() -> None:
    _assert_meme_is_fedavg(fml(beta=1.0))


def test_networks_of_one_backbone_start_apart_and_teach_each_other_by_default() -> None:
    federation = _federation(fml(), ("toy12",))
    metrics = federation.round(0)[0].metrics
    assert metrics["private_mutual"] > 0
    assert metrics["meme_mutual"] > 0


def test_without_sharing_nothing_travels_and_the_meme_stays() -> None:
    federation = _federation(fml(share=False))
    assert all(update.payload is None for update in federation.round(0).values())
    client = federation.clients[0]
    predicted = federation.predictors(client, 0)["meme"]
    assert all(torch.equal(value, predicted[name]) for name, value in client.models["meme"].state_dict().items())


def test_common_meme_and_private_network_predict() -> None:
    federation = _federation(fml())
    federation.round(0)
    found = federation.predictors(federation.clients[0], 0)
    assert list(found) == ["private", "meme"]
    assert all(torch.equal(value, found["meme"][name]) for name, value in federation.received.tensors.items())


@dataclass(frozen=True)
class MeanOverEntries(FML):
    """As HtFLlib's: the divergence is averaged over images and classes."""

    def terms(self, task, weight) -> Terms:
        right = super().terms(task, weight)
        return lambda own, other: {name: term / task.outputs for name, term in right(own, other).items()}


@dataclass(frozen=True)
class Unmerged(FML):
    """As the authors' code with `fork` commented out: clients go on with their own meme."""

    def train(self, client, received, ctx):
        return super().train(client, None, ctx)


@dataclass(frozen=True)
class AlwaysOff(FML):
    """As HtFLlib's defaults, which leave nothing but the task losses."""

    def train(self, client, received, ctx):
        return FML.train(replace(self, alpha=1.0, beta=1.0), client, received, ctx)


def test_faults_of_public_code_are_caught(monkeypatch) -> None:
    with pytest.raises(AssertionError, match="not close"):
        _assert_step_is_the_papers(fml(MeanOverEntries, alpha=0.3, beta=0.6))
    with pytest.raises(AssertionError, match="not close"):
        _assert_step_is_the_papers(fml(AlwaysOff))
    with pytest.raises(AssertionError):
        _assert_meme_is_fedavg(fml(Unmerged, beta=1.0))
    monkeypatch.setattr(fedbench_fml, "fit_pair", partial(fit_pair, joint=True))  # teachers that are not detached
    with pytest.raises(AssertionError, match="not close"):
        _assert_step_is_the_papers(fml(alpha=0.3, beta=0.6))
