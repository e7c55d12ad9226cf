"""What FedBN and SiloBN share and keep, what they equal without normalization, and a fault that public code has."""

from dataclasses import dataclass, replace

import pytest
import timm
import torch
from torch import nn

from fedbench_core.api import Payload, RequestError
from fedbench_core.registry import registry
from fedbench_core.testing.toys import ToyBuilder, ToyFederation, ToyNet, toy_client, toy_moment
from fedbench_fedbn import FedBN

STATISTICS = {"norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}
AFFINE = {"norm.weight", "norm.bias"}


def _federation(update, kind: type[ToyFederation] = ToyFederation) -> ToyFederation:
    return kind(update, [toy_client(number, images=16 + 4 * number) for number in range(3)])


@pytest.mark.parametrize(("keep", "stays"), [("all", STATISTICS | AFFINE), ("statistics", STATISTICS)])
def test_normalization_stays_and_the_rest_is_averaged(keep, stays) -> None:
    federation = _federation(FedBN(keep=keep))
    sent = [update.payload.tensors for update in federation.round(0).values()]
    net = federation.clients[0].models["model"]
    assert set(net.state_dict()) - set(sent[0]) == stays
    # 16, 20 and 24 images
    mean = sum(images / 60 * one["stem.weight"] for images, one in zip((16, 20, 24), sent, strict=True))
    torch.testing.assert_close(federation.received.tensors["stem.weight"], mean)
    personal = federation.predictors(federation.clients[0], 0)["personal"]
    for name, value in personal.items():
        assert torch.equal(value, net.state_dict()[name] if name in stays else federation.received.tensors[name])
    federation.round(1)
    own = [client.models["model"].norm.running_mean for client in federation.clients]
    assert not torch.equal(own[0], own[1])
    assert net.norm.num_batches_tracked.item() == 6  # of its own batches: two turns of three


class PlainNet(ToyNet):
    """Without normalization."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.norm = nn.Identity()


class PlainBuilder(ToyBuilder):
    def backbone(self, name: str, role: str = "") -> ToyNet:
        net = PlainNet(int(name.removeprefix("toy")))
        same = super().backbone(name, role).state_dict()
        Payload({key: same[key] for key in net.state_dict()}).load_into(net)
        return net


class PlainFederation(ToyFederation):
    def context(self, number: int, node: int = -1):
        return replace(super().context(number, node), builder=PlainBuilder())


def test_without_normalization_it_is_fedavg_to_the_bit() -> None:
    plain = _federation(registry().make("local_update", "fedavg", {}), PlainFederation)
    kept = _federation(FedBN(), PlainFederation)
    for number in range(3):
        plain.round(number)
        kept.round(number)
        assert kept.received.to_bytes() == plain.received.to_bytes()
    personal, common = kept.predictors(kept.clients[1], 2)["personal"], plain.predictors(plain.clients[1], 2)["global"]
    assert all(torch.equal(value, common[name]) for name, value in personal.items())


def _check(part: FedBN, net: nn.Module) -> None:
    class Builder(ToyBuilder):
        def backbone(self, name: str, role: str = "") -> nn.Module:
            return net

    part.check(toy_client(), replace(toy_moment(), builder=Builder()))


def test_network_without_batch_normalization_is_refused() -> None:
    with pytest.raises(RequestError, match=r"toy8 has none.*FedAvg.*--backbones resnet18.*--method fedavg\.$"):
        _check(FedBN(), PlainNet(8))
    layered = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))
    with pytest.raises(RequestError, match=r"batch normalization.*--set local_update\.norms=all"):
        _check(FedBN(), layered)
    _check(FedBN(norms="all"), layered)
    with pytest.raises(RequestError, match="running statistics"):
        _check(FedBN(norms="all", keep="statistics"), layered)
    _check(FedBN(), ToyNet(8))


def _assert_found_by_type(part: FedBN) -> None:
    shortcut = nn.Sequential(nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4))
    net = nn.ModuleDict({"bn1": nn.BatchNorm2d(4), "downsample": shortcut, "abn": nn.Conv2d(4, 4, 1)})
    names = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    assert part.kept(net) == {f"{layer}.{name}" for layer in ("bn1", "downsample.1") for name in names}


def test_layers_are_found_by_type() -> None:
    _assert_found_by_type(FedBN())


def test_layers_with_an_activation_are_found() -> None:
    """timm's networks have batch normalization that is followed by an activation in one layer."""
    net = timm.create_model("test_efficientnet")
    layers = {name.removesuffix(".running_mean") for name in net.state_dict() if name.endswith(".running_mean")}
    assert FedBN().kept(net) == {name for name in net.state_dict() if name.rpartition(".")[0] in layers}


@dataclass(frozen=True)
class ByName(FedBN):
    """As in three public codes: whatever has "bn" in its name."""

    def kept(self, net):
        return {name for name in net.state_dict() if "bn" in name}


def test_fault_of_public_code_is_caught() -> None:
    with pytest.raises(AssertionError, match="downsample"):
        _assert_found_by_type(ByName())
