import pytest
import torch
from torch import nn

from fedbench_core.api import Payload
from fedbench_core.learning import fit, load_global
from fedbench_core.testing.toys import toy_client, toy_moment
from fedbench_fedprox import FedProx


def net_of(seed: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(1, 3, 2), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2))


@pytest.mark.parametrize("mu", [0.0, 0.01, 7.5])
def test_gradient_of_the_term_is_mu_times_the_displacement(mu) -> None:
    net, start = net_of(1), [parameter.detach().clone() for parameter in net_of(2).parameters()]
    FedProx(mu).proximal(net, start).backward()
    for parameter, then in zip(net.parameters(), start, strict=True):
        torch.testing.assert_close(parameter.grad, mu * (parameter.detach() - then), rtol=1e-6, atol=0)


def test_term_is_half_mu_times_the_squared_distance() -> None:
    net = nn.Linear(2, 1, bias=False)
    nn.init.constant_(net.weight, 3.0)
    assert FedProx(0.5).proximal(net, [torch.ones(1, 2)]).item() == 0.5 / 2 * 8


def test_term_and_gradient_are_zero_at_the_start() -> None:
    net = net_of(1)
    term = FedProx(9.0).proximal(net, [parameter.detach().clone() for parameter in net.parameters()])
    term.backward()
    assert term.item() == 0
    assert all(not parameter.grad.any() for parameter in net.parameters())


def test_training_with_mu_0_is_local_training_to_the_bit() -> None:
    client, ctx = toy_client(), toy_moment(1)
    received = Payload.of(ctx.build("toy8", "elsewhere"))
    net = load_global(received, "toy8", ctx)
    metrics = fit(net, client.train, ctx)
    update = FedProx(0.0).train(client, received, ctx)
    assert update.payload.to_bytes() == Payload.of(net).to_bytes()
    assert update.metrics == {**metrics, "proximal": 0.0}
    assert FedProx(1.0).train(client, received, ctx).metrics["proximal"] > 0


def test_default_is_not_fedavg() -> None:
    """In public code mu is 0 unless it is set."""
    assert FedProx().mu > 0
