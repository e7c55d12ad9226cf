"""SCAFFOLD's formulas by hand, what it equals, and faults that public code has."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from fedbench_core.api import SERVER, AggregatorState, Client, Message, Payload, Training
from fedbench_core.learning import fit
from fedbench_core.parts.aggregators import Mean
from fedbench_core.registry import registry
from fedbench_core.testing.toys import ToyBuilder, ToyFederation, toy_client, toy_moment
from fedbench_scaffold import ControlledMean, Scaffold, correct

SCAFFOLD, CONTROLLED = Scaffold(), ControlledMean()
RECIPE = Training(steps=3, batch_size=8, lr=0.05, momentum=0.0)


def fedavg():
    return registry().make("local_update", "fedavg", {})


def _federation(update, aggregator, clients=3, training=RECIPE) -> ToyFederation:
    members = [toy_client(number, images=16 + 4 * number) for number in range(clients)]
    return ToyFederation(update, members, aggregator=aggregator, training=training)


def _weights(federation: ToyFederation) -> dict[str, torch.Tensor]:
    received = federation.received
    return (received.part("model") if isinstance(federation.aggregator, ControlledMean) else received).tensors


def _assert_round_one_is_fedavg(update=SCAFFOLD, training=RECIPE) -> None:
    plain = _federation(fedavg(), Mean(uniform=True), training=training)
    controlled = _federation(update, ControlledMean(), training=training)
    plain.round(0)
    controlled.round(0)
    assert all(torch.equal(_weights(plain)[name], value) for name, value in _weights(controlled).items())
    plain.round(1)
    controlled.round(1)
    assert any(not torch.equal(_weights(plain)[name], value) for name, value in _weights(controlled).items())


def _assert_one_client_is_fedavg(update=SCAFFOLD, aggregator=CONTROLLED, training=RECIPE) -> None:
    plain, controlled = (_federation(*parts, 1, training) for parts in ((fedavg(), Mean()), (update, aggregator)))
    for number in range(5):
        plain.round(number)
        controlled.round(number)
    for name, value in _weights(controlled).items():
        torch.testing.assert_close(value, _weights(plain)[name], rtol=0, atol=1e-6)


def _assert_control_is_mean_gradient(update=SCAFFOLD, training=RECIPE) -> None:
    """After its first turn c_i is the mean of the gradients of the local steps."""
    federation, seen = _federation(update, ControlledMean(), 1, training), []
    sent = federation.round(0)[0].payload.part("control").tensors
    net = ToyBuilder().backbone("toy8")
    gradients = {name: [] for name, _ in net.named_parameters()}

    def keep(now: nn.Module) -> None:
        seen.append(1)
        for name, parameter in now.named_parameters():
            gradients[name].append(parameter.grad.clone())

    fit(net, toy_client(0).train, toy_moment(0, training=training), on_gradients=keep)
    assert len(seen) == 3
    for name, values in gradients.items():
        torch.testing.assert_close(sent[name], torch.stack(values).mean(dim=0), rtol=1e-3, atol=1e-5)


def test_round_one_is_fedavg_to_the_bit_and_round_two_is_not() -> None:
    _assert_round_one_is_fedavg()


def test_one_client_is_fedavg_for_five_rounds() -> None:
    _assert_one_client_is_fedavg()


def test_control_of_the_first_turn_is_the_mean_gradient() -> None:
    _assert_control_is_mean_gradient()


class One(nn.Module):
    """Two logits w0 x and w1 x of an image of one pixel x."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))

    def forward(self, images):
        return images.flatten(1)[:, :1] * self.weight


class OneBuilder(ToyBuilder):
    def backbone(self, name, role=""):
        return One()


def test_golden_figure_of_c_after_one_step() -> None:
    # pixel 255 is x = 1; at w = 0 the softmax is (1/2, 1/2), so with label 0 the gradient is (-1/2, 1/2)
    client = toy_client(0, images=2)
    examples = replace(client.train, images=client.train.images[:, :1, :1] * 0 + 255, labels=client.train.labels * 0)
    client = Client(0, "one", examples, examples)
    ctx = toy_moment(0, training=Training(steps=1, batch_size=2, lr=0.1, momentum=0.0))
    ctx = replace(ctx, builder=OneBuilder(), backbones=("one", "one"), task=replace(ctx.task, classes=("a", "b")))
    update = Scaffold().train(client, None, ctx)
    assert client.memory["weight"].tolist() == pytest.approx([-0.5, 0.5], rel=1e-6)
    assert update.payload.tensors["model/weight"].tolist() == pytest.approx([0.05, -0.05], rel=1e-6)
    # one of N = 2 clients takes part: c = 0 + 1/2 (c_i - 0)
    state = AggregatorState(SERVER)
    first = ControlledMean().start(state, ctx)
    first.add(Message(0, update.payload, 2.0))
    published = first.result()
    assert published.tensors["control/weight"].tolist() == pytest.approx([-0.25, 0.25], rel=1e-6)
    assert published.tensors["model/weight"].tolist() == pytest.approx([0.05, -0.05], rel=1e-6)
    # second step, from w = (0.05, -0.05): p0 = 1 / (1 + e^-0.1) = 0.5249792, g = (-0.4750208, 0.4750208);
    # corrected g - c_i + c = g + 0.5 - 0.25 = -0.2250208; w = 0.05 + 0.1 * 0.2250208; c_i+ = c_i - c + (x - y) / 0.1
    again = Scaffold().train(client, published, ctx)
    assert again.payload.tensors["model/weight"].tolist() == pytest.approx([0.0725021, -0.0725021], rel=1e-5)
    assert client.memory["weight"].tolist() == pytest.approx([-0.4750208, 0.4750208], rel=1e-5)
    assert again.payload.tensors["control/weight"].tolist() == pytest.approx([0.0249792, -0.0249792], rel=1e-4)


def test_steps_are_those_that_were_taken() -> None:
    """With epochs, clients of different size take a different number of steps: 16 images make 2 of 8, 24 make 3."""
    training = Training(epochs=1, batch_size=8, lr=0.05, momentum=0.0)
    federation = _federation(Scaffold(), ControlledMean(), 3, training)
    updates = federation.round(0)
    start = ToyBuilder().backbone("toy8").state_dict()
    for client, steps in ((0, 2), (2, 3)):
        tensors = updates[client].payload.tensors
        moved = (start["body.bias"] - tensors["model/body.bias"]) / (steps * 0.05)
        torch.testing.assert_close(tensors["control/body.bias"], moved)


def test_controls_are_of_parameters_only() -> None:
    sent = _federation(Scaffold(), ControlledMean()).round(0)[0].payload
    net = ToyBuilder().backbone("toy8")
    assert set(sent.part("control").tensors) == {name for name, _ in net.named_parameters()}
    assert set(sent.part("model").tensors) == set(net.state_dict())


def test_server_step_size_scales_the_parameters_and_not_the_statistics() -> None:
    start = ToyBuilder().backbone("toy8")
    whole, half = (_federation(Scaffold(global_lr=size), ControlledMean()) for size in (1.0, 0.5))
    whole.round(0)
    half.round(0)
    for name, value in start.named_parameters():
        torch.testing.assert_close(_weights(half)[name], (value + _weights(whole)[name]) / 2, rtol=0, atol=1e-7)
    assert torch.equal(_weights(half)["norm.running_mean"], _weights(whole)["norm.running_mean"])


def test_option_one_is_the_gradient_at_the_global_model() -> None:
    training = replace(RECIPE, batch_size=16)
    federation = _federation(Scaffold(option="I"), ControlledMean(), 1, training)
    sent = federation.round(0)[0].payload.part("control").tensors
    net = ToyBuilder().backbone("toy8")
    ctx = toy_moment(0)
    images, labels = toy_client(0).train.tensors()
    ctx.task.loss(net(images), labels).backward()
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(sent[name], parameter.grad, rtol=1e-4, atol=1e-6)
    _assert_round_one_is_fedavg(Scaffold(option="I"))


def test_correction_is_common_minus_own() -> None:
    net = nn.Linear(1, 1, bias=False)
    net(torch.ones(1, 1)).sum().backward()
    correct(net, {"weight": torch.tensor([[2.0]])}, {"weight": torch.tensor([[5.0]])})
    assert net.weight.grad.item() == 1 + 5 - 2


@dataclass(frozen=True)
class RandomStart(Scaffold):
    """As NIID-Bench's: controls start with the weights of a network."""

    def setup(self, client, ctx):
        client.memory.update({name: p.detach().clone() for name, p in ctx.build(client.backbone).named_parameters()})


@dataclass(frozen=True)
class StillServer(ControlledMean):
    """As FL-MedSegBench's: c never moves."""

    def start(self, state, ctx):
        accumulator, result = super().start(state, ctx), None
        result = accumulator.result

        def still() -> Payload:
            merged = result()
            control = {name: torch.zeros_like(value) for name, value in merged.part("control").tensors.items()}
            return Payload.of(model=merged.part("model").tensors, control=control)

        accumulator.result = still
        return accumulator


def test_faults_of_public_code_are_caught() -> None:
    with pytest.raises(AssertionError):
        _assert_control_is_mean_gradient(training=replace(RECIPE, momentum=0.9))
    with pytest.raises(AssertionError):
        _assert_round_one_is_fedavg(RandomStart())
    with pytest.raises(AssertionError):
        _assert_one_client_is_fedavg(aggregator=StillServer())
