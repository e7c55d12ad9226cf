"""Descriptions of networks from which they are built again."""

import pytest
import torch
from torch import nn

from fedbench_core.api import RunError
from fedbench_core.federation import files, kept
from fedbench_core.federation.assembly import resolve
from fedbench_core.federation.networks import Networks
from fedbench_core.learning import NearestPrototype
from fedbench_core.runner import How, load


class Scaled(nn.Module):
    """A network whose logits are multiplied."""

    def __init__(self, net, weight, factor):
        super().__init__()
        self.net, self.factor = net, factor
        self.weight = nn.Parameter(weight)

    def forward(self, images):
        """The logits."""
        return self.net(images) * self.weight * self.factor


class Hiding(Scaled):
    """A network that doesn't say what its constructor was given."""

    def __init__(self, net, weight, factor, received):
        super().__init__(net, weight, factor + len(received))


MODULES = {"head": nn.Linear, "scaled": Scaled, "hiding": Hiding}


@pytest.fixture(scope="module")
def setting(spec):
    """A small run and its images."""
    run = resolve(spec("local"))
    return run, load(run, How())


@pytest.fixture
def networks(setting):
    """What lends networks in a run."""
    run, splits = setting
    return Networks(run.architectures, MODULES, splits, 1, "cpu")


def kept_file(net, networks, folder):
    return kept.keep(net, networks, MODULES, files, folder / "net.safetensors")


def _backbone(networks):
    return networks.backbone("tiny", "")


COMPOSITIONS = {
    "backbone": _backbone,
    "sequence": lambda networks: nn.Sequential(
        _backbone(networks), networks.module("head", "", {"in_features": 3, "out_features": 3})
    ),
    "class of learning": lambda networks: NearestPrototype(_backbone(networks), torch.rand(3, 6), torch.ones(3)),
    "declared class": lambda networks: Scaled(_backbone(networks), torch.rand(3), 2.5),
    "nested": lambda networks: Scaled(
        NearestPrototype(_backbone(networks), torch.rand(3, 6), torch.ones(3)), torch.rand(3), 2
    ),
}


@pytest.mark.parametrize("make", COMPOSITIONS.values(), ids=COMPOSITIONS)
def test_network_from_its_file_computes_the_same(make, networks, setting, tmp_path) -> None:
    run, splits = setting
    net = make(networks).eval()
    model = kept_file(net, networks, tmp_path)
    again = kept.load(files.read(model.file), lambda name: run.architectures[name].build(3, 3, 8), MODULES)
    images = splits.test.tensors()[0]
    with torch.inference_mode():
        assert torch.equal(again(images), net(images))
    assert model.size == model.file.path.stat().st_size


UNNAMED = {
    "layer that nobody lent": (lambda networks: nn.Sequential(_backbone(networks), nn.Linear(3, 3)), "Linear"),
    "class that is not declared": (lambda _networks: nn.Upsample(2), "Upsample"),
    "constructor with other arguments": (
        lambda networks: Hiding(_backbone(networks), torch.rand(3), 1, [1]),
        "received",
    ),
}


@pytest.mark.parametrize(("make", "named"), UNNAMED.values(), ids=UNNAMED)
def test_network_that_cannot_be_built_again_is_not_written(make, named, networks, tmp_path) -> None:
    model = kept_file(make(networks), networks, tmp_path)
    assert model.file is None
    assert named in model.reason
    assert not list(tmp_path.iterdir())


def test_file_that_does_not_fit_its_network_is_refused(networks, tmp_path) -> None:
    model = kept_file(_backbone(networks), networks, tmp_path)
    with pytest.raises(RunError, match="built"):
        kept.load(files.read(model.file), lambda _name: nn.Linear(2, 2), MODULES)
