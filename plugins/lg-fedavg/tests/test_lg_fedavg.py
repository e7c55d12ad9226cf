"""What LG-FedAvg shares and keeps, what it equals at both ends, and what it refuses."""

from dataclasses import dataclass

import pytest
import torch

from fedbench_core.api import Payload, RequestError
from fedbench_core.learning import fit
from fedbench_core.registry import registry
from fedbench_core.testing.toys import ToyBuilder, ToyFederation, toy_client, toy_moment
from fedbench_lg_fedavg import LGFedAvg

EQUAL, MIXED = ("toy8", "toy8", "toy8"), ("toy8", "toy12", "toy8")


def _federation(update, backbones=EQUAL) -> ToyFederation:
    return ToyFederation(update, [toy_client(n, name, 16 + 4 * n) for n, name in enumerate(backbones)])


def _check(update, backbones):
    federation = _federation(update, backbones)
    return [update.check(client, federation.context(0, client.id)) for client in federation.clients]


def test_with_all_layers_global_it_is_fedavg_to_the_bit() -> None:
    plain, shared = _federation(registry().make("local_update", "fedavg", {})), _federation(LGFedAvg(layers=0))
    for number, present in enumerate(([0, 1, 2], [0, 2], [1, 2])):
        plain.round(number, present)
        shared.round(number, present)
        assert shared.received.to_bytes() == plain.received.to_bytes()
    models = plain.predictors(plain.clients[0], 3)["global"], shared.predictors(shared.clients[0], 3)["model"]
    assert Payload(models[0]).to_bytes() == Payload(models[1]).to_bytes()


def test_without_sharing_it_is_training_alone_to_the_bit() -> None:
    federation, alone = _federation(LGFedAvg(share=False)), ToyBuilder().backbone("toy8")
    for number in range(3):
        assert all(update.payload is None for update in federation.round(number).values())
        fit(alone, toy_client(0).train, toy_moment(number))
    assert Payload.of(federation.clients[0].models["model"]).to_bytes() == Payload.of(alone).to_bytes()


def test_only_the_head_travels_and_its_mean_is_weighted_by_images() -> None:
    federation = _federation(LGFedAvg())
    sent = {client: update.payload.tensors for client, update in federation.round(0).items()}
    assert {name: tuple(value.shape) for name, value in sent[0].items()} == {"0/weight": (3, 8), "0/bias": (3,)}
    for name, value in federation.received.tensors.items():
        expected = (16 * sent[0][name] + 20 * sent[1][name] + 24 * sent[2][name]) / 60
        torch.testing.assert_close(value, expected)


def test_last_layers_are_counted_from_the_head() -> None:
    sent = _federation(LGFedAvg(layers=2)).round(0)[0].payload.tensors
    assert {name: value.shape[0] for name, value in sent.items()} == {
        "0/weight": 3,
        "0/bias": 3,
        "1/weight": 8,
        "1/bias": 8,
    }


def _assert_absent_client_predicts_with_the_global_head(update) -> None:
    federation = _federation(update)
    federation.round(0)
    body = federation.clients[0].models["model"].state_dict()["body.weight"].clone()
    federation.round(1, [1, 2])
    model = federation.predictors(federation.clients[0], 2)["model"]
    assert torch.equal(model["head.weight"], federation.received.tensors["0/weight"])
    assert torch.equal(model["body.weight"], body)


def test_absent_client_predicts_with_its_own_layers_and_the_global_head() -> None:
    _assert_absent_client_predicts_with_the_global_head(LGFedAvg())


def test_training_starts_from_the_global_head() -> None:
    """Two federations whose clients 0 received other heads train differently, and the same head equally."""
    sent = []
    for others in ([0, 1], [0, 2], [0, 1]):
        federation = _federation(LGFedAvg())
        federation.round(0, others)
        sent.append(federation.round(1, [0])[0].payload.to_bytes())
    assert sent[0] == sent[2] != sent[1]


def test_mixed_backbones_share_a_head_on_a_fixed_map() -> None:
    federation = _federation(LGFedAvg(), MIXED)
    sent = [update.payload.tensors["0/weight"] for update in federation.round(0).values()]
    assert [tuple(one.shape) for one in sent] == [(3, 8)] * 3
    maps = [federation.predictors(client, 1)["model"]["projection.weight"] for client in federation.clients]
    federation.round(1)
    again = [federation.predictors(client, 2)["model"]["projection.weight"] for client in federation.clients]
    assert all(torch.equal(one, other) for one, other in zip(maps, again, strict=True))
    assert [tuple(one.shape) for one in maps] == [(8, 8), (8, 12), (8, 8)]
    assert torch.equal(maps[0], maps[2])


def test_mixed_backbones_are_noted() -> None:
    notes = _check(LGFedAvg(), MIXED)
    assert all("to 8 entries" in note for [note] in notes)
    assert "from 12" in notes[1][0]
    assert _check(LGFedAvg(), EQUAL) == [[], [], []]


@pytest.mark.parametrize(
    ("update", "named"),
    [
        (LGFedAvg(size=0), ["toy8, toy12", "8, 12 entries", "local_update.size=8"]),
        (LGFedAvg(layers=2, size=0), ["local_update.layers=1"]),
        (LGFedAvg(layers=2), ["local_update.layers=1"]),
        (LGFedAvg(layers=2, size=4), ["local_update.layers is 2"]),
    ],
)
def test_layers_that_differ_are_refused(update, named) -> None:
    with pytest.raises(RequestError) as error:
        _check(update, MIXED)
    assert error.value.exit_code == 2
    assert all(words in str(error.value) for words in named)


@dataclass(frozen=True)
class OwnHead(LGFedAvg):
    """Predicts with the head that the client trained."""

    def predictors(self, client, received, ctx):
        return super().predictors(client, None, ctx)


def test_prediction_with_the_own_head_is_caught() -> None:
    with pytest.raises(AssertionError):
        _assert_absent_client_predicts_with_the_global_head(OwnHead())
