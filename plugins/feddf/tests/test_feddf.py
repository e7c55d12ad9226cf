"""FedDF: a channel per architecture, the mean in it, and what distillation does."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch

from fedbench_core.api import SERVER, AggregatorState, Images, Message, Payload, RequestError, Training
from fedbench_core.parts.aggregators import Mean
from fedbench_core.registry import registry
from fedbench_core.testing.toys import ToyFederation, toy_client, toy_moment
from fedbench_feddf import EnsembleDistillation, predicted

PUBLIC = Images(np.random.default_rng(5).integers(0, 255, (40, 8, 8)).astype(np.uint8), np.arange(40), "none")
SMALL = EnsembleDistillation(steps=30, batch_size=20)


def fedavg():
    return registry().make("local_update", "fedavg", {})


@dataclass
class PublicFederation(ToyFederation):
    """A toy federation with public images."""

    public: Images | None = field(default_factory=lambda: PUBLIC)

    def context(self, number, node=SERVER):
        return replace(super().context(number, node), public=self.public)


def _mixed(part=SMALL, count=4) -> PublicFederation:
    clients = [toy_client(number, ("toy8", "toy12")[number % 2], 16 + 4 * number) for number in range(count)]
    return PublicFederation(
        fedavg(),
        clients,
        aggregator=part,
        training=Training(steps=3, batch_size=8),
    )


def _messages(federation, senders, number=0) -> list[Message]:
    sent = federation.round(number, senders)
    return [Message(sender, update.payload, update.num_examples) for sender, update in sent.items()]


def _same(one: Payload, other: Payload) -> bool:
    return one.to_bytes() == other.to_bytes()


def test_without_steps_every_channel_is_the_mean_of_its_architecture() -> None:
    federation = _mixed(EnsembleDistillation(steps=0))
    messages = _messages(federation, None)
    for backbone in ("toy8", "toy12"):
        mean = Mean().start(AggregatorState(SERVER), federation.context(0))
        for message in messages:
            if federation.clients[message.sender].backbone == backbone:
                mean.add(message)
        assert _same(federation.published[backbone], mean.result())


def test_one_architecture_without_steps_is_fedavg_for_three_rounds() -> None:
    clients = [[toy_client(number, images=16 + 4 * number) for number in range(3)] for _ in range(2)]
    plain = ToyFederation(fedavg(), clients[0], aggregator=Mean())
    distilled = PublicFederation(fedavg(), clients[1], aggregator=EnsembleDistillation(steps=0))
    for number in range(3):
        plain.round(number)
        distilled.round(number)
        assert _same(distilled.published["toy8"], plain.received)


def test_channel_of_an_absent_architecture_keeps_its_payload() -> None:
    federation = _mixed()
    federation.round(0)
    before = dict(federation.published)
    federation.round(1, [0, 2])  # both have toy8
    assert _same(federation.published["toy12"], before["toy12"])
    assert not _same(federation.published["toy8"], before["toy8"])


def _ensemble(federation, messages) -> torch.Tensor:
    logits = []
    for message in messages:
        net = federation.context(0).build(federation.clients[message.sender].backbone)
        message.payload.load_into(net)
        logits.append(predicted(net, PUBLIC))
    return torch.stack(logits).mean(dim=0)


def test_distilled_models_are_nearer_to_the_ensemble_of_all_clients() -> None:
    nearer = {}
    for steps in (0, 30):
        federation = _mixed(EnsembleDistillation(steps=steps, batch_size=20, lr=0.01))
        teacher = _ensemble(federation, _messages(federation, None))
        for backbone, payload in federation.published.items():
            net = federation.context(0).build(backbone)
            payload.load_into(net)
            divergence = federation.context(0).task.divergence(teacher, predicted(net, PUBLIC)).item()
            nearer.setdefault(backbone, []).append(divergence)
    for before, after in nearer.values():
        assert after < before / 2


def _constant(backbone, values) -> Payload:
    """A network with these numbers in place of probabilities, for all images: its head has weights 0."""
    net = toy_moment(0).build(backbone)
    with torch.no_grad():
        net.head.weight.zero_()
        net.head.bias.copy_(torch.tensor(values).log())
    return Payload.of(net)


def test_step_of_the_server_by_hand() -> None:
    """One step of Adam on KL(ensemble || student): its first step moves every entry by lr, against its gradient.

    The ensemble of (0.8, 0.08, 0.12) and (0.0125, 8, 1/12) has the geometric means (0.1, 0.8, 0.1). The gradient by the
    logits is the student's probabilities minus those: (0.7, -0.72, 0.02) for toy8, and (-, +, -) for toy12. The
    divergence in the other direction would raise the third logit of toy8: ln(0.12 / 0.1) is less than that divergence.
    """
    start = {"toy8": [0.8, 0.08, 0.12], "toy12": [0.0125, 8.0, 1 / 12]}
    against = {"toy8": torch.tensor([-1.0, 1.0, -1.0]), "toy12": torch.tensor([1.0, -1.0, 1.0])}
    part = EnsembleDistillation(steps=1, batch_size=20, lr=0.01)
    accumulator = part.start(AggregatorState(SERVER), _mixed(part, 2).context(0))
    for sender, (backbone, values) in enumerate(start.items()):
        accumulator.add(Message(sender, _constant(backbone, values), 16.0))
    for backbone, payload in accumulator.result().items():
        expected = torch.tensor(start[backbone]).log() + 0.01 * against[backbone]
        torch.testing.assert_close(payload.tensors["head.bias"], expected, rtol=0, atol=1e-6)
        moved = payload.tensors["head.weight"]  # by as much, but for entries of the embedding that are always 0
        assert moved.any(dim=0).sum() >= 4
        torch.testing.assert_close(moved, 0.01 * against[backbone][:, None] * moved.any(dim=0), rtol=0, atol=1e-6)
        unmoved = _constant(backbone, start[backbone]).tensors["body.weight"]
        assert torch.equal(payload.tensors["body.weight"], unmoved)  # the head passes no gradient on


def test_teacher_is_the_mean_of_the_logits_of_all_clients() -> None:
    federation = _mixed()
    messages = _messages(federation, None)
    accumulator = SMALL.start(AggregatorState(SERVER), federation.context(0))
    for message in messages:
        accumulator.add(message)
    torch.testing.assert_close(accumulator._logits / 4, _ensemble(federation, messages))


def test_clients_read_the_channel_of_their_architecture() -> None:
    federation = _mixed()
    channels = [SMALL.channel(AggregatorState(SERVER), client, federation.context(0)) for client in range(4)]
    assert channels == ["toy8", "toy12", "toy8", "toy12"]


def test_logits_of_more_images_than_fit_at_once() -> None:
    many = PUBLIC.pick(np.arange(600) % 40)
    net = toy_moment(0).build("toy8")
    torch.testing.assert_close(predicted(net, many)[:40], predicted(net, PUBLIC))
    assert len(predicted(net, many)) == 600


def test_run_without_public_images_is_refused() -> None:
    ctx = toy_moment(0)
    with pytest.raises(RequestError, match="--public"):
        SMALL.check(ctx)
    assert EnsembleDistillation(steps=0).check(ctx) == []
    assert SMALL.check(replace(ctx, public=PUBLIC)) == []
