import pytest
import torch
from torch import nn

from fedbench_fedprox import FedProx


def _net(seed: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(1, 3, 2), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2))


@pytest.mark.parametrize("mu", [0.0, 0.01, 1.0, 7.5])
def test_the_extra_gradient_is_mu_times_the_way_from_what_was_received(mu) -> None:
    net, received = _net(1), [parameter.detach().clone() for parameter in _net(2).parameters()]
    FedProx(mu).pull(net, received).backward()
    for parameter, then in zip(net.parameters(), received, strict=True):
        torch.testing.assert_close(parameter.grad, mu * (parameter.detach() - then), rtol=1e-6, atol=0)


def test_the_term_is_half_mu_times_the_squared_distance() -> None:
    net = nn.Linear(2, 1, bias=False)
    nn.init.constant_(net.weight, 3.0)
    assert FedProx(0.5).pull(net, [torch.ones(1, 2)]).item() == 0.5 / 2 * 8


def test_there_is_no_pull_where_one_stands() -> None:
    net = _net(1)
    term = FedProx(9.0).pull(net, [parameter.detach().clone() for parameter in net.parameters()])
    term.backward()
    assert term.item() == 0
    assert all(not parameter.grad.any() for parameter in net.parameters())
