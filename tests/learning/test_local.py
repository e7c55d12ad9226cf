from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from fedbench_core.api import Client, Examples, Payload, PayloadError, Training
from fedbench_core.learning import batches, fit, load_global, optimizer
from fedbench_core.testing.examples import moment

CTX = replace(moment(), training=Training(epochs=2, batch_size=6, lr=0.1, momentum=0.5, weight_decay=0.01))


def _net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 3))


@pytest.fixture
def client() -> Client:
    images = np.random.default_rng(0).integers(0, 255, (20, 4, 4), dtype=np.uint8)
    examples = Examples(images, (np.arange(20) % 3)[:, None].astype(np.int64), np.arange(20), "none")
    return Client(0, "net", examples, examples)


def _weights(net) -> list[float]:
    return torch.cat([parameter.detach().flatten() for parameter in net.parameters()]).tolist()


def test_fitting_is_plain_stochastic_gradient_descent(client) -> None:
    """v <- 0.5 v + g + 0.01 w; w <- w - 0.1 v, on the batches in their order."""
    fitted, byhand = _net(), _net()
    metrics = fit(fitted, client, CTX)
    velocity = [torch.zeros_like(parameter) for parameter in byhand.parameters()]
    losses, seen = 0.0, 0
    for images, labels in batches(client, CTX):
        byhand.zero_grad()
        loss = nn.functional.cross_entropy(byhand(images), labels)
        loss.backward()
        losses, seen = losses + loss.item() * len(images), seen + len(images)
        with torch.no_grad():
            for parameter, speed in zip(byhand.parameters(), velocity, strict=True):
                speed.mul_(0.5).add_(parameter.grad + 0.01 * parameter)
                parameter.sub_(0.1 * speed)
    assert _weights(fitted) == pytest.approx(_weights(byhand), abs=1e-6)
    assert metrics == {"loss": pytest.approx(losses / seen, rel=1e-6), "steps": 8}
    assert seen == 40


def test_a_penalty_moves_the_weights_and_not_the_loss_that_is_told(client) -> None:
    once = replace(CTX, training=Training(steps=1, lr=0.1, momentum=0))
    plain, pulled = _net(), _net()
    before = torch.tensor(_weights(plain))
    told = fit(plain, client, once)
    also = fit(pulled, client, once, lambda net: 3 * sum(p.square().sum() for p in net.parameters()))
    assert told == also
    assert _weights(pulled) == pytest.approx((torch.tensor(_weights(plain)) - 0.1 * 6 * before).tolist(), abs=1e-6)


def test_fitting_trains_in_training_mode(client) -> None:
    net = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, 3)).eval()
    fit(net, client, CTX)
    assert net.training
    assert int(net[1].num_batches_tracked) == 8


@pytest.mark.parametrize(
    ("name", "kind"), [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)]
)
def test_the_optimizer_is_the_one_that_was_asked_for(name, kind) -> None:
    made = optimizer(_net().parameters(), Training(optimizer=name, lr=0.3, momentum=0.7, weight_decay=0.2))
    assert type(made) is kind
    [group] = made.param_groups
    assert (group["lr"], group["weight_decay"], group.get("momentum", 0.7)) == (0.3, 0.2, 0.7)


def test_adopting_is_building_and_then_hearing(client) -> None:
    asked = []

    def build(backbone, role=""):
        asked.append((backbone, role))
        return _net()

    ctx = replace(CTX, build=build)
    assert _weights(load_global(None, client, ctx)) == _weights(_net())
    received = Payload({name: torch.ones_like(value) for name, value in _net().state_dict().items()})
    assert set(_weights(load_global(received, client, ctx))) == {1.0}
    assert asked == [("net", "")] * 2
    with pytest.raises(PayloadError, match="does not fit the model"):
        load_global(Payload({}), client, ctx)
