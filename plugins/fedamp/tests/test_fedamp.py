"""FedAMP's formulas by hand, and what it equals without them."""

from math import exp

import pytest
import torch
from torch import nn

from fedbench_core.api import SERVER, AggregatorState, Message, Payload
from fedbench_core.learning import fit
from fedbench_core.testing.toys import ToyBuilder, ToyFederation, toy_client, toy_moment
from fedbench_fedamp import FedAMP, MessagePassing

PERSONAL, ACROSS = FedAMP(), MessagePassing(sigma=1e-3, attention=0.9)


def _federation(update=PERSONAL, aggregator=ACROSS, clients=3) -> ToyFederation:
    members = [toy_client(number, images=16 + 4 * number) for number in range(clients)]
    return ToyFederation(update, members, aggregator=aggregator)


def test_weights_by_hand() -> None:
    models = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 3.0]], dtype=torch.float64)
    # squared distances 1, 9, 10; sigma 2; alpha A'(x) = 0.8 / 2 exp(-x / 2)
    near, far, apart = (0.4 * exp(-squared / 2) for squared in (1, 9, 10))
    expected = [[1 - near - far, near, far], [near, 1 - near - apart, apart], [far, apart, 1 - far - apart]]
    weights = MessagePassing(sigma=2.0, attention=0.8).weights(models, 3)
    torch.testing.assert_close(weights, torch.tensor(expected, dtype=torch.float64))


def test_each_client_receives_its_own_mixture() -> None:
    part, ctx = MessagePassing(sigma=2.0, attention=0.8), toy_moment(0)
    ctx = type(ctx)(**{**vars(ctx), "backbones": ("toy8",) * 3})
    accumulator = part.start(AggregatorState(SERVER), ctx)
    for sender, value in ((0, 0.0), (2, 1.0)):
        accumulator.add(Message(sender, Payload({"a": torch.tensor([[value]]), "b": torch.zeros(2)}), 5.0))
    published, weight = accumulator.result(), 0.4 * exp(-1 / 2)
    assert set(published) == {"0", "2"}
    assert published["0"].tensors["a"].item() == pytest.approx(weight)
    assert published["2"].tensors["a"].item() == pytest.approx(1 - weight)
    assert published["2"].tensors["b"].tolist() == [0, 0]


@pytest.mark.parametrize("pull", [0.0, 0.3, 2.0])
def test_gradient_of_the_proximal_term(pull) -> None:
    net, cloud = nn.Linear(3, 2), {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}
    FedAMP(pull).proximal(net, cloud).backward()
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(parameter.grad, pull * (parameter.detach() - cloud[name]))


def test_without_sharing_it_is_training_alone_to_the_bit() -> None:
    federation = _federation(FedAMP(share=False))
    alone = ToyBuilder().backbone("toy8")
    for number in range(3):
        assert all(update.payload is None for update in federation.round(number).values())
        fit(alone, toy_client(0).train, toy_moment(number))
    assert Payload.of(federation.clients[0].models["personal"]).to_bytes() == Payload.of(alone).to_bytes()
    assert not federation.published


def test_without_pull_it_is_training_alone_to_the_bit_although_models_travel() -> None:
    federation = _federation(FedAMP(pull=0.0))
    alone = ToyBuilder().backbone("toy8")
    for number in range(3):
        federation.round(number)
        fit(alone, toy_client(0).train, toy_moment(number))
    assert Payload.of(federation.clients[0].models["personal"]).to_bytes() == Payload.of(alone).to_bytes()
    assert set(federation.published) == {"0", "1", "2"}


def test_only_parameters_travel() -> None:
    federation = _federation()
    sent = federation.round(0)[0].payload.tensors
    names = [name for name, _ in federation.clients[0].models["personal"].named_parameters()]
    assert set(sent) == set(federation.published["0"].tensors) == set(names)


def test_clients_with_equal_models_receive_them_unchanged() -> None:
    part, ctx = MessagePassing(attention=1.0), toy_moment(0)
    accumulator = part.start(AggregatorState(SERVER), ctx)
    payload = Payload.of(dict(ToyBuilder().backbone("toy8").named_parameters()))
    for sender in range(3):
        accumulator.add(Message(sender, payload, 1.0))
    for mixture in accumulator.result().values():
        for name, value in payload.tensors.items():
            torch.testing.assert_close(mixture.tensors[name], value, rtol=1e-6, atol=0)


def test_absent_client_keeps_its_channel_and_model() -> None:
    federation = _federation()
    federation.round(0)
    before = federation.published["1"].to_bytes(), Payload.of(federation.clients[1].models["personal"]).to_bytes()
    federation.round(1, [0, 2])
    after = federation.published["1"].to_bytes(), Payload.of(federation.clients[1].models["personal"]).to_bytes()
    assert before == after


def _spread(pull: float) -> float:
    federation = _federation(FedAMP(pull=pull), MessagePassing(sigma=1e6, attention=1.0))
    for number in range(4):
        federation.round(number)
    weights = [Payload.of(client.models["personal"]).tensors["body.weight"] for client in federation.clients]
    return torch.stack(weights).std(dim=0).mean().item()


def test_pull_brings_models_together() -> None:
    assert _spread(5.0) < _spread(0.0) / 1.5
