from functools import partial

import pytest
import torch
from torch import nn

from fedbench_core.api import RequestError, RunError
from fedbench_core.federation import networks
from fedbench_core.federation.assembly import resolve
from fedbench_core.federation.networks import Networks, snapshot
from fedbench_core.runner import How, load

SIZES = {"in_features": 4, "out_features": 2}


@pytest.fixture
def lender(spec):
    """A lender for the backbones tiny and wide."""

    def make(seed=0, head=nn.Linear, **settings):
        setting = resolve(spec("local", backbones="tiny,wide", **settings))
        return Networks(setting.architectures, {"head": head}, load(setting, How()), seed, "cpu")

    return make


def _weights(net) -> bytes:
    return b"".join(value.numpy().tobytes() for value in net.state_dict().values())


def test_equal_roles_are_equal_and_others_differ(lender) -> None:
    lend = lender()
    plain, again, teacher, student = (lend.backbone("tiny", role) for role in ("", "", "teacher", "student"))
    assert _weights(plain) == _weights(again)
    assert len({_weights(net) for net in (plain, teacher, student)}) == 3
    assert len({id(net) for net in (plain, again, teacher, student)}) == 4


def test_initial_weights_depend_on_seed_backbone_and_role_only(lender) -> None:
    first = lender()
    expected = {role: _weights(first.backbone("tiny", role)) for role in ("", "teacher")}
    other = lender(lr=0.5, rounds=9)
    torch.manual_seed(99)
    torch.rand(7)
    other.backbone("wide")
    for role in ("teacher", "", "teacher"):  # another order, other uses before, recalled between
        assert _weights(other.backbone("tiny", role)) == expected[role]
        other.recall()
    assert _weights(lender(seed=1).backbone("tiny")) != expected[""]


def test_a_loan_comes_back_and_goes_out_fresh(lender) -> None:
    lend = lender()
    net = lend.backbone("tiny")
    initial = _weights(net)
    with torch.no_grad():
        net.head.weight.add_(1)
        net.norm.running_mean.add_(1)
    net.eval()
    net.requires_grad_(requires_grad=False)
    net.head.bias.grad = torch.ones(3)
    lend.recall()
    fresh = lend.backbone("tiny")
    assert fresh is net
    assert _weights(fresh) == initial
    assert fresh.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in fresh.parameters())


def test_building_leaves_the_global_generator_alone(lender) -> None:
    lend = lender()
    before = torch.get_rng_state()
    lend.backbone("tiny", "a")
    lend.backbone("wide", "b")
    assert torch.equal(before, torch.get_rng_state())


def test_many_roles_stay_the_same_however_often_they_are_asked_for(lender) -> None:
    lend = lender()
    expected = [_weights(lend.backbone("tiny", f"role {n}")) for n in range(20)]
    lend.recall()
    assert [_weights(lend.backbone("tiny", f"role {n}")) for n in range(20)] == expected
    assert len(set(expected)) == 20


@pytest.fixture
def random_buffers(lender):
    """A function that makes a lender of heads with random values outside their state, and a list of those built."""
    built = []

    class Projection(nn.Linear):
        def __init__(self, in_features: int, out_features: int) -> None:
            super().__init__(in_features, out_features)
            self.register_buffer("random", torch.rand(3), persistent=False)
            built.append(self)

    return partial(lender, head=Projection), built


def test_first_network_is_built_once(random_buffers) -> None:
    make, built = random_buffers
    nets = make()
    first = nets.module("head", "", SIZES)
    assert [id(net) for net in built] == [id(first)]
    assert _weights(nets.module("head", "", SIZES)) == _weights(first)


def test_first_backbone_is_built_once(lender, spec, monkeypatch) -> None:
    built = []
    kind = type(resolve(spec("local", backbones="tiny")).architectures["tiny"])
    build = kind.build
    monkeypatch.setattr(kind, "build", lambda *arguments: built.append(build(*arguments)) or built[-1])
    nets = lender()
    first = nets.backbone("tiny")
    assert [id(net) for net in built] == [id(first)]
    assert _weights(nets.backbone("tiny")) == _weights(first)


def test_values_outside_the_state_do_not_depend_on_what_was_built_before(random_buffers) -> None:
    make, _ = random_buffers
    first, other = make(), make()
    expected = first.module("head", "", SIZES).random
    assert torch.equal(other.module("head", "teacher", SIZES).random, expected)


def test_module_weights_depend_on_seed_name_role_and_sizes(lender) -> None:
    first, again = lender(), lender()
    weights = _weights(first.module("head", "", SIZES))
    assert _weights(again.module("head", "", dict(reversed(SIZES.items())))) == weights
    assert _weights(first.module("head", "other", SIZES)) != weights
    assert _weights(lender(seed=1).module("head", "", SIZES)) != weights


def test_stored_networks_come_back_with_their_weights(lender) -> None:
    nets = lender()
    net, head = nets.backbone("tiny"), nets.module("head", "", SIZES)
    with torch.no_grad():
        net.head.weight.add_(1)
        head.weight.add_(1)
    stored = {"a": nets.weights(net)}, {"b": nets.weights(head)}
    expected = _weights(net), _weights(head)
    nets.recall()
    back = nets.load_backbones(stored[0])["a"], nets.load_modules(stored[1])["b"]
    assert tuple(map(_weights, back)) == expected


def test_network_that_was_not_built_here_is_not_stored(lender) -> None:
    with pytest.raises(RunError, match="Linear"):
        lender().weights(nn.Linear(1, 1))


def test_module_that_was_not_declared_is_refused(lender) -> None:
    with pytest.raises(RequestError, match=r"'heed'.*head"):
        lender().module("heed", "", {})


def test_a_backbone_that_was_not_announced_is_refused(lender) -> None:
    with pytest.raises(RequestError, match=r"No backbone in this run named 'plain'.*Available: tiny, wide"):
        lender().backbone("plain")


@pytest.mark.parametrize("tensors", [{}, {"weight": torch.ones(1, 1), "bias": torch.ones(2)}])
def test_stored_tensors_that_do_not_fit_are_refused_by_name(tensors) -> None:
    net = nn.Linear(3, 2)
    before = snapshot(net)
    with pytest.raises(RunError, match="weight"):
        networks.load(net, tensors)
    assert all(torch.equal(value, before[name]) for name, value in snapshot(net).items())
