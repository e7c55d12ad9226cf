"""FLOPs of what really ran, against counts by hand: a multiplication and an addition count as two."""

import copy

import pytest
import torch
from torch import nn

from fedbench_core.federation.assembly import resolve
from fedbench_core.federation.flops import flops_of
from fedbench_core.federation.networks import Networks
from fedbench_core.runner import How, load

CONV = 2 * 3 * 3 * 3 * 6 * 3 * 3  # kernel 3 x 3, 3 to 6 channels, 3 x 3 positions of an 8 x 8 image at stride 2
HEAD = 2 * 6 * 3
LINEAR = 2 * 4 * 5


@pytest.fixture
def networks(spec) -> Networks:
    run = resolve(spec("local"))
    return Networks(run.architectures, {"linear": nn.Linear}, load(run, How()), 0, "cpu")


def flops(networks, forwards=None) -> float:
    def build(name, sizes):
        networks.recall()
        return networks.backbone(name) if sizes is None else networks.module(name, "", sizes)

    return flops_of(networks.forwards() if forwards is None else forwards, build)


def images(count: int) -> torch.Tensor:
    return torch.zeros(count, 3, 8, 8)


def test_training_counts_both_gradients_and_the_first_layer_one(networks) -> None:
    """The images need no gradient, so the convolution has a gradient for its weights only."""
    net = networks.backbone("tiny")
    net(images(5)).sum().backward()
    assert flops(networks) == 5 * (2 * CONV + 3 * HEAD)


def test_forward_pass_without_gradients_counts_once(networks) -> None:
    net = networks.backbone("tiny")
    with torch.no_grad():
        net(images(7))
    assert flops(networks) == 7 * (CONV + HEAD)


def test_frozen_layers_have_no_gradient_to_count(networks) -> None:
    net = networks.backbone("tiny")
    net.conv.requires_grad_(requires_grad=False)
    net.norm.requires_grad_(requires_grad=False)
    net(images(2)).sum().backward()
    assert flops(networks) == 2 * (CONV + 2 * HEAD)


@pytest.mark.parametrize("call", [lambda net, x: net(x), lambda net, x: net.outputs(x).logits])
def test_call_and_outputs_count_one_pass_each(networks, call) -> None:
    call(networks.backbone("tiny"), images(3)).sum().backward()
    assert sum(networks.forwards().values()) == 3


def test_copy_of_a_network_is_counted_too(networks) -> None:
    with torch.no_grad():
        copy.deepcopy(networks.backbone("tiny"))(images(4))
    assert sum(networks.forwards().values()) == 4


def test_modules_count_with_the_gradient_of_their_input(networks) -> None:
    linear = networks.module("linear", "", {"in_features": 4, "out_features": 5})
    linear(torch.zeros(6, 4, requires_grad=True)).sum().backward()
    linear(torch.zeros(2, 4)).sum().backward()
    assert flops(networks) == 6 * 3 * LINEAR + 2 * 2 * LINEAR


def test_counts_start_anew_after_they_are_taken(networks) -> None:
    networks.backbone("tiny")(images(3))
    assert networks.forwards()
    assert networks.forwards() == {}


def test_run_counts_training_and_prediction_apart(go) -> None:
    """Three clients of 20 images, 3 rounds of 2 steps of 8; fine-tuning is one epoch for each client, at the end."""
    settings = {"partitioner": "iid", "backbones": "tiny"}
    plain, tuned = (go(method, **settings).record["costs"] for method in ("fedavg", "fedavg-ft"))
    per_image = 2 * CONV + 3 * HEAD
    assert plain["training_gflops"] == tuned["training_gflops"] == pytest.approx(3 * 3 * 16 * per_image / 1e9)
    assert plain["prediction_gflops"] == plain["aggregation_gflops"] == 0
    assert tuned["prediction_gflops"] == pytest.approx(60 * per_image / 1e9)


def test_head_alone_is_counted_and_not_twice_with_its_network(networks) -> None:
    net = networks.backbone("tiny")
    net.head(torch.zeros(9, 6)).sum().backward()
    assert flops(networks) == 9 * 2 * HEAD
    networks.forwards()  # those of the measurement
    net(images(1)).sum().backward()
    assert flops(networks) == 2 * CONV + 3 * HEAD


class Generator(nn.Module):
    """A module of two inputs, one of them integers, and two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.layer = nn.Embedding(3, 4), nn.Linear(4, 5)

    def forward(self, noise, labels):
        return self.layer(noise + self.embedding(labels)), labels


def test_module_of_several_inputs_is_measured_on_their_shapes_and_types(networks) -> None:
    networks._modules = {"generator": Generator}
    made = networks.module("generator", "", {})
    made(torch.zeros(6, 4), torch.zeros(6, dtype=torch.int64))[0].sum().backward()
    assert flops(networks) == 6 * 3 * LINEAR


def test_network_that_cannot_be_measured_has_unknown_flops(networks) -> None:
    def build(name, _sizes):
        raise ValueError(name)

    networks.backbone("tiny")(images(1))
    assert flops_of(networks.forwards(), build) is None
