from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from fedbench_core.api import Client, Examples, Payload, PayloadError, Training
from fedbench_core.learning import TensorData, batches, fit, load_global, optimizer
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
    metrics = fit(fitted, client.train, CTX)
    velocity = [torch.zeros_like(parameter) for parameter in byhand.parameters()]
    losses, seen = 0.0, 0
    for batch in batches(client.train, CTX):
        images, labels = batch.images, batch.labels
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


ONCE = replace(CTX, training=Training(steps=1, lr=0.1, momentum=0))


def test_named_terms_are_added_and_reported_apart(client) -> None:
    """The gradient of 3 |w|^2 is 6 w."""
    plain, pulled = _net(), _net()
    before = torch.tensor(_weights(plain))
    alone = fit(plain, client.train, ONCE)

    def loss(batch, outputs, net):
        squares = sum(p.square().sum() for p in net.parameters())
        return {"loss": CTX.task.loss(outputs.logits, batch.labels), "penalty": 3 * squares}

    both = fit(pulled, client.train, ONCE, loss=loss)
    assert both == {**alone, "penalty": pytest.approx(3 * before.square().sum().item(), rel=1e-5)}
    assert _weights(pulled) == pytest.approx((torch.tensor(_weights(plain)) - 0.1 * 6 * before).tolist(), abs=1e-6)


def test_loss_replaces_that_of_the_task(client) -> None:
    """d/db of the sum of all logits over the batch is 1 for each class and image."""
    net = _net()
    before = net[1].bias.detach().clone()
    told = fit(net, client.train, ONCE, loss=lambda _batch, outputs, _net: outputs.logits.sum())
    assert (before - net[1].bias.detach()).tolist() == pytest.approx([0.1 * 20] * 3)
    assert told.keys() == {"loss", "steps"}


def test_gradient_hook_runs_between_backward_and_step(client) -> None:
    net, seen = _net(), []
    before = _weights(net)

    def to_zero(fitted):
        seen.append(fitted[1].weight.grad.abs().sum().item())
        for parameter in fitted.parameters():
            parameter.grad.zero_()

    fit(net, client.train, replace(CTX, training=Training(steps=3, weight_decay=0.0)), on_gradients=to_zero)
    assert len(seen) == 3
    assert min(seen) > 0
    assert _weights(net) == before


def test_clipped_gradient_has_at_most_the_norm_of_the_recipe(client) -> None:
    """One step without momentum moves all weights together by the rate times the norm, after the hook."""
    moved = {}
    for clip in (None, 1e9, 0.25):
        net = _net()
        before = torch.tensor(_weights(net))
        ctx = replace(CTX, training=Training(steps=1, lr=0.1, momentum=0, clip=clip))
        fit(net, client.train, ctx, on_gradients=lambda net: [p.grad.mul_(7) for p in net.parameters()])
        moved[clip] = torch.tensor(_weights(net)) - before
    assert torch.equal(moved[None], moved[1e9])
    assert float(moved[0.25].norm()) == pytest.approx(0.1 * 0.25, rel=1e-4)
    assert float(moved[None].norm()) > 0.1
    assert torch.allclose(moved[0.25] / moved[0.25].norm(), moved[None] / moved[None].norm(), atol=1e-4)


def test_fitting_uses_the_rate_of_the_round(client) -> None:
    plain, scheduled = _net(), _net()
    fit(plain, client.train, replace(CTX, training=Training(steps=3, lr=0.1)))
    warm = Training(steps=3, lr=0.2, warmup=1, schedule="cosine")
    fit(scheduled, client.train, replace(CTX, training=warm))
    assert _weights(scheduled) == _weights(plain)


def test_half_precision_is_that_of_forward_passes_and_losses_get_single_precision(client) -> None:
    net, seen = _net(), []
    net[1].register_forward_hook(lambda _module, _args, output: seen.append(output.dtype))
    ctx = replace(CTX, training=Training(steps=1, precision="bf16"))

    def loss(batch, outputs, now):
        seen.extend([outputs.logits.dtype, now(batch.images).dtype, outputs.logits.exp().dtype])
        return ctx.task.loss(outputs.logits, batch.labels)

    fit(net, client.train, ctx, loss=loss)
    assert seen == [torch.bfloat16, torch.bfloat16, torch.float32, torch.bfloat16, torch.float32]
    assert all(parameter.dtype == parameter.grad.dtype == torch.float32 for parameter in net.parameters())


def test_frozen_modules_are_in_evaluation_mode_and_stay_as_they_are(client) -> None:
    net = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, 3))
    body = {name: value.clone() for name, value in net[1].state_dict().items()}
    head = net[2].weight.detach().clone()
    fit(net, client.train, CTX, frozen=[net[1]], parameters=list(net[2].parameters()))
    assert all(torch.equal(value, body[name]) for name, value in net[1].state_dict().items())
    assert not torch.equal(net[2].weight, head)
    assert net[1].training
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_tensors_such_as_prototypes_are_data() -> None:
    inputs, labels = torch.eye(3).repeat(4, 1), torch.arange(3).repeat(4)
    net = nn.Linear(3, 3)
    fit(net, TensorData(inputs, labels), replace(CTX, training=Training(epochs=30, batch_size=6, lr=0.5)))
    assert net(torch.eye(3)).argmax(dim=1).tolist() == [0, 1, 2]


def test_public_images_have_no_labels_and_batches_know_their_positions(client) -> None:
    teacher = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    net, shapes = _net(), set()

    def distil(batch, outputs, _net):
        shapes.add(tuple(batch.labels.shape[1:]))
        return (outputs.logits - teacher[batch.indices]).square().mean()

    ctx = replace(CTX, training=Training(epochs=200, batch_size=10, lr=0.05))
    before = (net(client.train.tensors()[0]) - teacher).square().mean().item()
    fit(net, client.train.without_labels(), ctx, loss=distil)
    assert (net(client.train.tensors()[0]) - teacher).square().mean().item() < before / 3
    assert shapes == {(0,)}


def test_stream_of_the_batches_can_be_named(client) -> None:
    first, second = _net(), _net()
    fit(first, client.train, CTX)
    fit(second, client.train, CTX, who=("digest",))
    assert _weights(first) != _weights(second)


def test_fitting_trains_in_training_mode(client) -> None:
    net = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, 3)).eval()
    fit(net, client.train, CTX)
    assert net.training
    assert int(net[1].num_batches_tracked) == 8


@pytest.mark.parametrize(
    ("name", "kind"), [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)]
)
def test_the_optimizer_is_the_one_that_was_asked_for(name, kind) -> None:
    training = Training(optimizer=name, lr=0.3, momentum=0.7, weight_decay=0.2)
    made = optimizer(_net().parameters(), replace(CTX, training=training))
    assert type(made) is kind
    [group] = made.param_groups
    assert (group["lr"], group["weight_decay"], group.get("momentum", 0.7)) == (0.3, 0.2, 0.7)


class _Builder:
    def backbone(self, name, role):
        assert (name, role) == ("net", "")
        return _net()


def test_global_model_has_the_received_weights_or_the_initial_ones() -> None:
    ctx = replace(CTX, builder=_Builder())
    assert _weights(load_global(None, "net", ctx)) == _weights(_net())
    received = Payload({name: torch.ones_like(value) for name, value in _net().state_dict().items()})
    assert set(_weights(load_global(received, "net", ctx))) == {1.0}
    with pytest.raises(PayloadError, match="does not fit the model"):
        load_global(Payload({}), "net", ctx)
