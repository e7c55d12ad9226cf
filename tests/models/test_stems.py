import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from fedbench_core.models import stems


@pytest.mark.parametrize(
    ("stem", "size", "small"),
    [("auto", 28, True), ("auto", 32, True), ("auto", 33, False), ("timm", 28, False), ("small", 224, True)],
)
def test_stem_is_small_up_to_32_pixels(stem, size, small):
    assert stems.is_small(stem, size) is small


@pytest.mark.parametrize(
    ("name", "factor"), [("resnet18", 4), ("resnet10t", 4), ("densenet121", 4), ("mobilenetv3_small_100", 2)]
)
def test_shrink_returns_the_factor_of_the_old_stem(name, factor):
    assert stems.shrink(timm.create_model(name, num_classes=2)) == factor


def test_large_kernel_is_cropped_and_has_the_spread_of_a_new_one():
    torch.manual_seed(0)
    net = timm.create_model("resnet18", num_classes=2)
    before = net.conv1.weight.detach().clone()
    stems.shrink(net)
    assert torch.equal(net.conv1.weight, before[:, :, 2:5, 2:5] * (7 / 3))
    fresh = nn.init.kaiming_normal_(torch.empty(64, 3, 3, 3), mode="fan_out", nonlinearity="relu")
    assert float(net.conv1.weight.detach().std() / fresh.std()) == pytest.approx(1, abs=0.1)
    assert (net.conv1.kernel_size, net.conv1.stride, net.conv1.padding) == ((3, 3), (1, 1), (1, 1))
    assert isinstance(net.maxpool, nn.Identity)


def test_small_kernel_keeps_its_weights():
    net = timm.create_model("mobilenetv3_small_100", num_classes=2)
    before = net.conv_stem.weight.detach().clone()
    stems.shrink(net)
    assert torch.equal(net.conv_stem.weight, before)
    assert net.conv_stem.stride == (1, 1)


def test_max_pool_outside_the_stem_is_kept():
    net = timm.create_model("vgg11", num_classes=2, device="meta")
    pools = sum(isinstance(m, nn.MaxPool2d) for m in net.modules())
    stems.shrink(net)
    assert sum(isinstance(m, nn.MaxPool2d) for m in net.modules()) == pools - 1
    late = timm.create_model("legacy_xception", num_classes=2, device="meta")
    assert stems._stem_pool(late) == ""


@pytest.mark.parametrize(("size", "patch"), [(28, 4), (32, 4), (64, 8), (224, 16), (29, 1), (5, 1)])
def test_patch_size_leaves_seven_patches_per_side_if_possible(size, patch):
    assert stems._patch(timm.create_model("test_vit"), size) == patch


@given(size=st.integers(1, 300))
def test_patch_size_divides_the_image(size):
    assert size % stems._patch(VIT, size) == 0


VIT = timm.create_model("test_vit")
