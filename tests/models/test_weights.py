from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from fedbench_core.api import DataError, DataRequest
from fedbench_core.data.phantom import Phantom
from fedbench_core.federation.networks import Networks
from fedbench_core.models import TimmArchitecture


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty Hugging Face cache, and no network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path


def put(cache, name, net):
    """Store weights in the layout of the Hugging Face client."""
    repository = cache / f"models--timm--{name}"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    save_file({n: t.contiguous() for n, t in net.state_dict().items()}, snapshot / "model.safetensors")


def test_weights_that_are_unavailable_are_a_data_error(cache):
    with pytest.raises(DataError, match=r"test_vit\.r160_in1k.*HF_HOME.*--pretrained"):
        TimmArchitecture("test_vit", pretrained=True).build(8, 3, 28)
    assert not list(cache.rglob("*.safetensors"))


def test_weights_are_loaded_from_the_local_cache(cache):
    published = timm.create_model("test_resnet")
    put(cache, "test_resnet.r160_in1k", published)
    net = TimmArchitecture("test_resnet", stem="timm", pretrained=True).build(8, 3, 28)
    assert net.name == "test_resnet.r160_in1k"
    own = net.net.state_dict()
    head = {n for n, t in published.state_dict().items() if own[n].shape != t.shape}
    assert head == {"fc.weight", "fc.bias"}
    assert all(torch.equal(own[n], t) for n, t in published.state_dict().items() if n not in head)


def test_weights_are_adapted_to_a_small_stem_and_other_channels(cache):
    published = timm.create_model("resnet18")
    put(cache, "resnet18.a1_in1k", published)
    net = TimmArchitecture("resnet18", pretrained=True).build(8, 1, 28)
    gray = published.conv1.weight.detach().sum(dim=1, keepdim=True)
    assert torch.allclose(net.net.conv1.weight, gray[:, :, 2:5, 2:5] * (7 / 3), atol=1e-6)
    assert torch.equal(net.net.layer1[0].conv1.weight, published.layer1[0].conv1.weight)


@pytest.mark.parametrize(
    ("channels", "mean", "std"),
    [(3, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), (1, (0.449,), (0.226,))],  # ImageNet's, and their means
)
@pytest.mark.parametrize("setting", ["backbone", "half"])
def test_pretrained_weights_get_inputs_normalized_as_in_their_training(cache, setting, channels, mean, std):
    put(cache, "test_efficientnet.r160_in1k", timm.create_model("test_efficientnet"))
    architecture = TimmArchitecture("test_efficientnet", stem="timm", pretrained=True)
    splits = Phantom(train=8, val=8, test=8).load(DataRequest(cache))
    images = np.zeros((8, 28, 28, channels), np.uint8)
    splits = replace(splits, train=replace(splits.train, images=images, channels="last"))
    net = Networks({"net": architecture}, {}, splits, 0, "cpu", setting).backbone("net").eval()
    pixels = torch.rand(2, channels, 28, 28, generator=torch.Generator().manual_seed(0))
    by_hand = (pixels - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)
    given = by_hand if setting == "backbone" else 2 * pixels - 1
    with torch.no_grad():
        assert torch.allclose(net(2 * pixels - 1), net.net(given), atol=1e-5)
        assert torch.allclose(net.outputs(2 * pixels - 1).logits, net.net(given), atol=1e-5)


def test_weights_of_a_transformer_are_resampled_to_small_patches(cache):
    put(cache, "test_vit.r160_in1k", timm.create_model("test_vit"))
    net = TimmArchitecture("test_vit", pretrained=True).build(8, 3, 28)
    assert net.outputs(torch.zeros(1, 3, 28, 28)).maps[-1].shape == (1, 64, 7, 7)
