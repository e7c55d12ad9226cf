import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from fedbench_core.api import DataError
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


def test_weights_of_a_transformer_are_resampled_to_small_patches(cache):
    put(cache, "test_vit.r160_in1k", timm.create_model("test_vit"))
    net = TimmArchitecture("test_vit", pretrained=True).build(8, 3, 28)
    assert net.outputs(torch.zeros(1, 3, 28, 28)).maps[-1].shape == (1, 64, 7, 7)
