"""FedTGP's margin and loss by hand, what the server trains, and faults that public code has."""

from copy import deepcopy
from dataclasses import dataclass
from math import exp, log

import pytest
import torch
from torch.nn import functional as F

from fedbench_core.api import SERVER, AggregatorState, Message, Payload, Training
from fedbench_core.learning import NearestPrototype, fit, positions
from fedbench_core.registry import registry
from fedbench_core.testing.toys import ToyBuilder, ToyFederation, toy_client, toy_moment
from fedbench_fedtgp import Prototypes, TrainedPrototypes

BACKBONES = ("toy8", "toy12", "toy8")


def _federation(strength=10.0, aggregator=None, training=None) -> ToyFederation:
    update = registry().make("local_update", "fedproto", {"strength": strength, "size": 8})
    members = [toy_client(number, name, 16 + 4 * number) for number, name in enumerate(BACKBONES)]
    return ToyFederation(update, members, aggregator=aggregator or TrainedPrototypes(epochs=5), training=training)


def _message(sender, prototypes, counts) -> Message:
    tensors = {"prototypes": torch.tensor(prototypes), "counts": torch.tensor(counts)}
    return Message(sender, Payload(tensors), 1.0)


def _trained(part, messages, state=None, training=None):
    """The published prototypes, and the state of the server."""
    state = state or AggregatorState(SERVER)
    ctx = toy_moment(0, node=SERVER, modules=part.modules, training=training or Training(batch_size=4, lr=0.05))
    accumulator = part.start(state, ctx)
    for message in messages:
        accumulator.add(message)
    return accumulator.result(), state


def test_margin_by_hand() -> None:
    # centers (0, 0), (3, 4), (3, 12): nearest distances 5, 5, 8
    prototypes = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [3.0, 4.0], [3.0, 12.0]])
    classes = torch.tensor([0, 0, 1, 2])
    assert TrainedPrototypes().margin_of(prototypes, classes) == pytest.approx(8)
    assert TrainedPrototypes(margin=6.5).margin_of(prototypes, classes) == 6.5
    assert TrainedPrototypes().margin_of(prototypes[:2], classes[:2]) == 100  # no other class


def test_loss_by_hand() -> None:
    # distances 1 and 3, label 0, margin 2: cross-entropy of (-3, -3) is ln 2; with margin 1 of (-2, -3)
    part, negative = TrainedPrototypes(), torch.tensor([[-1.0, -3.0]])
    assert part.loss(negative, torch.tensor([0]), 2.0).item() == pytest.approx(log(2))
    assert part.loss(negative, torch.tensor([0]), 1.0).item() == pytest.approx(log(1 + exp(-1)))


def _identity(*prototypes) -> Prototypes:
    """A network of the server whose two layers change nothing: its prototypes are its embeddings."""
    net = Prototypes(len(prototypes), len(prototypes[0]))
    with torch.no_grad():
        net.embeddings.weight.copy_(torch.tensor(prototypes))
        for layer in (net.layers[0], net.layers[2]):
            torch.nn.init.eye_(layer.weight)
            layer.bias.zero_()
    return net


def test_step_of_the_server_by_hand() -> None:
    """One step of gradient descent on the loss with the margin, over the two prototypes (0, 0) and (6, 0).

    The margin is their distance, 6. Those of the server are P0 = (3, 4) and P1 = (6, 2.5), at distances 5 and 6.5 from
    (0, 0), and 5 and 2.5 from (6, 0). With the margin the probability of the own class is 1 / (1 + exp(11 - 6.5)) for
    (0, 0), and 1 / (1 + exp(8.5 - 5)) for (6, 0). The slope of the loss, a mean of two, is (1 - probability) / 2 by the
    distance to the own class, and the opposite by that to the other. That of a distance D is (P - p) / D by P.
    """
    state = AggregatorState(SERVER)
    state.modules["prototypes"] = net = _identity([3.0, 4.0], [6.0, 2.5])
    first, second = (1 - 1 / (1 + exp(4.5))) / 2, (1 - 1 / (1 + exp(3.5))) / 2
    zero = [first * 3 / 5 - second * -3 / 5, first * 4 / 5 - second * 4 / 5]
    one = [second * 0 / 2.5 - first * 6 / 6.5, second * 2.5 / 2.5 - first * 2.5 / 6.5]
    start, gradient = torch.tensor([[3.0, 4.0], [6.0, 2.5]]), torch.tensor([zero, one])
    embeddings, bias = start - 0.1 * gradient, -0.1 * gradient.sum(dim=0)
    weight = torch.eye(2) - 0.1 * gradient.T @ start  # inputs of both layers are the prototypes themselves
    published, _ = _trained(
        TrainedPrototypes(epochs=1), [_message(0, [[0.0, 0.0], [6.0, 0.0]], [5, 5])], state, Training(lr=0.1)
    )
    for layer in (net.layers[0], net.layers[2]):
        torch.testing.assert_close(layer.weight, weight, rtol=0, atol=1e-6)
        torch.testing.assert_close(layer.bias, bias, rtol=0, atol=1e-6)
    torch.testing.assert_close(net.embeddings.weight, embeddings, rtol=0, atol=1e-6)
    expected = (embeddings @ weight.T + bias).clamp(min=0) @ weight.T + bias
    torch.testing.assert_close(published.tensors["prototypes"], expected, rtol=0, atol=1e-5)


def test_server_trains_by_plain_gradient_descent_whatever_the_recipe_of_the_clients() -> None:
    """Two epochs of batches of four and three prototypes. Only learning rate and batch size are the clients'."""
    recipe = {"batch_size": 4, "lr": 0.05, "momentum": 0.9, "weight_decay": 0.1, "clip": 0.01, "precision": "bf16"}
    part, training = TrainedPrototypes(epochs=2), Training(steps=1, optimizer="adam", **recipe)
    # centers (2, 0), (0, 2), (0, 6): nearest distances 8 ** 0.5, 8 ** 0.5 and 4
    rows = [[1.0, 0.0], [0.0, 1.0], [0.0, 5.0]], [[3.0, 0.0], [0.0, 3.0], [0.0, 7.0]], [[2.0, 0.0]] + [[0.0, 0.0]] * 2
    counts = [[5, 1, 2], [3, 4, 9], [6, 0, 0]]
    messages = [_message(n, *both) for n, both in enumerate(zip(rows, counts, strict=True))]
    net = ToyBuilder(modules=part.modules).module("prototypes", "", {"classes": 3, "size": 2})
    inputs, classes = torch.tensor([*rows[0], *rows[1], rows[2][0]]), torch.tensor([0, 1, 2, 0, 1, 2, 0])
    drawn = toy_moment(0, node=SERVER).rng("prototypes")
    chosen = list(positions(7, Training(epochs=2, batch_size=4), drawn))
    assert [len(batch) for batch in chosen] == [4, 3, 4, 3]
    for batch in chosen:
        distances = (inputs[batch][:, None] - net.prototypes()).norm(dim=2)
        distances = distances + 4.0 * F.one_hot(classes[batch], 3)
        gradients = torch.autograd.grad(F.cross_entropy(-distances, classes[batch]), list(net.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(net.parameters(), gradients, strict=True):
                parameter.sub_(0.05 * gradient)
    published, _ = _trained(part, messages, training=training)
    torch.testing.assert_close(published.tensors["prototypes"], net.prototypes().detach(), rtol=0, atol=1e-5)


def _assert_gradient_is_finite_at_the_target(net) -> None:
    net(net.prototypes().detach()[:2]).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in net.parameters())


def test_gradient_is_finite_where_a_prototype_meets_its_target() -> None:
    _assert_gradient_is_finite_at_the_target(Prototypes(3, 4))


def test_distances_by_hand() -> None:
    net = Prototypes(2, 2)
    targets = net.prototypes().detach()
    expected = [[-(targets[0] ** 2).sum().sqrt().item(), -(targets[1] ** 2).sum().sqrt().item()]]
    torch.testing.assert_close(net(torch.zeros(1, 2)), torch.tensor(expected))


def _assert_server_learns(part) -> None:
    """The loss of the server's network falls from round to round: it is trained, and goes on where it was."""
    messages = [_message(n, [[4.0, 0.1 * n], [0.1 * n, 4.0], [0.0, 0.0]], [5, 5, 0]) for n in range(2)]
    prototypes = torch.cat([one.payload.tensors["prototypes"][:2] for one in messages])
    nets = [ToyBuilder(modules=part.modules).module("prototypes", "", {"classes": 3, "size": 2})]
    state = AggregatorState(SERVER)
    for _ in range(2):
        published, state = _trained(part, messages, state)
        nets.append(deepcopy(state.modules["prototypes"]))
        assert torch.equal(published.tensors["prototypes"], nets[-1].prototypes())
    losses = [part.loss(net(prototypes), torch.tensor([0, 1, 0, 1]), 4.0).item() for net in nets]
    assert losses[2] < losses[1] < losses[0]


def test_server_trains_and_goes_on_in_the_next_round() -> None:
    _assert_server_learns(TrainedPrototypes(epochs=30))


def test_classes_without_images_are_not_trained_on() -> None:
    """The row of a class that a client lacks is no prototype, whatever it holds."""
    rows = [[[1.0, 0.0], [0.0, 1.0], [junk, junk]] for junk in (0.0, 99.0)]
    results = [_trained(TrainedPrototypes(epochs=3), [_message(0, one, [2, 2, 0])])[0] for one in rows]
    assert results[0].to_bytes() == results[1].to_bytes()


def test_order_of_messages_is_irrelevant_to_the_bit() -> None:
    messages = [_message(n, [[4.0, n], [n, 4.0], [1.0, n]], [5, 5, 1]) for n in (0.0, 1.0, 2.0)]
    messages = [Message(number, one.payload, 1.0) for number, one in enumerate(messages)]
    part = TrainedPrototypes(epochs=3)
    assert _trained(part, messages)[0].to_bytes() == _trained(part, messages[::-1])[0].to_bytes()


def test_without_distance_it_is_training_alone_to_the_bit() -> None:
    federation, alone = _federation(strength=0.0), ToyBuilder().backbone("toy8")
    for number in range(3):
        federation.round(number)
        fit(alone, toy_client(0).train, toy_moment(number))
    assert Payload.of(federation.clients[0].models["model"]).to_bytes() == Payload.of(alone).to_bytes()


def test_all_classes_are_published_and_absent_clients_predict_with_them() -> None:
    federation = _federation()
    federation.round(0)
    federation.round(1, [1, 2])
    assert federation.received.tensors["counts"].tolist() == [1, 1, 1]
    [nearest, _] = federation.update.predictors(federation.clients[0], federation.received, toy_moment(2)).values()
    assert isinstance(nearest, NearestPrototype)
    assert torch.equal(nearest.prototypes, federation.received.tensors["prototypes"])


def test_method_is_fedproto_with_a_server_that_trains() -> None:
    method = registry().method("fedtgp")
    assert (method.local_update, method.options["local_update"]["strength"]) == ("fedproto", 10.0)


class Expanded(Prototypes):
    """As in FedTGP's and HtFLlib's code: the root of a difference of products, which may be 0 or less."""

    def forward(self, inputs):
        targets = self.prototypes()
        squares = inputs.square().sum(dim=1, keepdim=True) - 2 * inputs @ targets.T + targets.square().sum(dim=1)
        return -squares.sqrt()


@dataclass(frozen=True)
class Still(TrainedPrototypes):
    """As FedGH's: the server never steps."""

    epochs: int = 0


def test_faults_of_public_code_are_caught() -> None:
    net = Expanded(3, 4)
    with torch.no_grad():
        net.layers[2].weight.zero_()
        net.layers[2].bias.fill_(1)  # the difference of products is 0 exactly
    with pytest.raises(AssertionError):
        _assert_gradient_is_finite_at_the_target(net)
    with pytest.raises(AssertionError):
        _assert_server_learns(Still())
