"""MOON's contrastive term by hand, what it equals without it, and faults that public code has."""

from dataclasses import dataclass, replace
from math import exp, log

import pytest
import torch

from fedbench_core.api import Payload, Training
from fedbench_core.registry import registry
from fedbench_core.testing.toys import ToyFederation, toy_client, toy_moment
from fedbench_moon import PREVIOUS, Moon

SMALL = Moon(size=4)
ONE_STEP = Training(steps=1, batch_size=8)


def _federation(update, clients=3, training=None) -> ToyFederation:
    members = [toy_client(number, images=16 + 4 * number) for number in range(clients)]
    return ToyFederation(update, members, training=training)


def test_contrast_by_hand() -> None:
    # cosines 1 and 0, then 0 and -1, over tau = 0.5: both rows are ln(1 + e^-2)
    own = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    anchor = torch.tensor([[5.0, 0.0], [1.0, 0.0]])
    previous = torch.tensor([[0.0, 1.0], [0.0, -1.0]])
    assert Moon(temperature=0.5).contrast(own, anchor, previous).item() == pytest.approx(log(1 + exp(-2)))
    assert Moon(temperature=1.0).contrast(own, previous, anchor).item() == pytest.approx(log(1 + exp(1)))


def test_without_contrast_and_projection_it_is_fedavg_to_the_bit() -> None:
    plain = _federation(registry().make("local_update", "fedavg", {}))
    contrastive = _federation(Moon(mu=0.0, size=0))
    for number in range(3):
        plain.round(number, [0, 2])
        contrastive.round(number, [0, 2])
        models = Payload({name.removeprefix("net."): one for name, one in contrastive.received.tensors.items()})
        assert models.to_bytes() == plain.received.to_bytes()


def test_output_layer_reads_the_representation_and_the_own_classifier_stays_at_home() -> None:
    federation = _federation(SMALL, 1)
    sent = federation.round(0)[0].payload.tensors
    assert not [name for name in sent if name.startswith("net.head")]
    assert sent["output.weight"].shape == (3, 4)
    assert {name for name in sent if "running" in name} == {"net.norm.running_mean", "net.norm.running_var"}
    ctx = federation.context(1, 0)
    model, images = SMALL.network(federation.received, "toy8", ctx).eval(), toy_client(0).train.tensors()[0]
    expected = model.output(model.projection(model.net.outputs(images).embedding))
    assert torch.equal(model(images), expected)


def _assert_second_turn_has_contrast(update) -> None:
    """In the first turn the anchor and the last model are the initial one; in the second they differ."""
    federation = _federation(update, 3, ONE_STEP)
    first = [one.metrics["contrast"] for one in federation.round(0).values()]
    assert first == pytest.approx([update.mu * log(2)] * 3, rel=1e-6)
    second = [one.metrics["contrast"] for one in federation.round(1).values()]
    assert all(abs(value - update.mu * log(2)) > 1e-6 for value in second)


def _assert_last_model_is_the_clients_own(update) -> None:
    federation = _federation(update, 3)
    sent = federation.round(0)[0].payload.tensors
    federation.round(1, [1, 2])
    kept = federation.clients[0].models[PREVIOUS].state_dict()
    assert all(torch.equal(kept[name], sent[f"net.{name}"]) for name in kept if not name.startswith("head"))
    projection = federation.clients[0].modules[PREVIOUS].state_dict()
    assert all(torch.equal(value, sent[f"projection.{name}"]) for name, value in projection.items())


def test_contrast_starts_in_the_second_turn() -> None:
    _assert_second_turn_has_contrast(SMALL)


def test_last_model_is_the_clients_own_after_its_last_turn() -> None:
    _assert_last_model_is_the_clients_own(SMALL)


def test_training_lowers_the_contrast() -> None:
    left = {}
    for mu in (0.0, 1.0):
        update = Moon(mu=mu, size=4)
        federation = _federation(update, 2, Training(steps=20, batch_size=8, lr=0.02))
        previous = federation.round(0)[0].payload
        anchor = federation.received
        now = federation.round(1)[0].payload
        images, ctx = toy_client(0).train.tensors()[0], federation.context(1, 0)
        with torch.no_grad():
            models = [update.network(one, "toy8", ctx).eval() for one in (now, anchor, previous)]
            left[mu] = update.contrast(*(one.represent(one.net.outputs(images)) for one in models)).item()
    assert left[1.0] < left[0.0]


def test_works_with_labels_of_several_classes() -> None:
    client = toy_client(0)
    client.train = replace(client.train, labels=(client.train.labels <= [[0, 1, 2]]).astype("int64"))
    ctx = toy_moment(0, modules=Moon.modules)
    ctx = replace(ctx, task=replace(ctx.task, kind="multi-label"))
    SMALL.setup(client, ctx)
    assert SMALL.train(client, None, ctx).metrics["loss"] > 0


@dataclass(frozen=True)
class Forgetful(Moon):
    """The last model is the received one: both cosines are equal."""

    def train(self, client, received, ctx):
        self.setup(client, ctx)
        if received is not None:
            model = self.network(received, client.backbone, ctx)
            client.models[PREVIOUS], client.modules[PREVIOUS] = model.net, model.projection
        return super().train(client, received, ctx)


def test_faults_of_public_code_are_caught() -> None:
    with pytest.raises(AssertionError):
        _assert_second_turn_has_contrast(Forgetful(size=4))
    with pytest.raises(AssertionError):
        _assert_second_turn_has_contrast(Moon(mu=0.0, size=4))  # the default of PFLlib
