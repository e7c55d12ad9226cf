import pytest
import torch
from torch import nn

from fedbench_core.models import TimmArchitecture, count_flops, flops, parameters

FORWARD = 2 * 3 * 5 * 9 * 16  # two operations per weight of 5 3x3 kernels on 3 channels, at each of 16 positions


def test_linear_layer_costs_what_a_hand_count_gives():
    layer = nn.Linear(3, 5)
    assert parameters(layer) == 3 * 5 + 5
    assert count_flops(lambda: layer(torch.ones(2, 3))) == 2 * 2 * 3 * 5


def test_convolution_costs_what_a_hand_count_gives():
    assert flops(nn.Conv2d(3, 5, 3, padding=1), (3, 4, 4)) == FORWARD


@pytest.mark.parametrize("groups", [1, 2, 16])
@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_training_pass_costs_three_forward_passes_for_any_number_of_groups(groups, kind):
    layer = kind(16, 16, 3, padding=1, groups=groups, bias=False)
    images = torch.ones(2, 16, 4, 4, requires_grad=True)  # so that both gradients are computed
    forward = count_flops(lambda: layer(images))
    assert forward == 2 * 2 * 16 * 16 // groups * 9 * 16
    assert count_flops(lambda: layer(images).sum().backward()) == 3 * forward


def test_first_layer_has_no_gradient_of_its_input():
    layer = nn.Conv2d(3, 5, 3, padding=1)
    assert count_flops(lambda: layer(torch.ones(1, 3, 4, 4)).sum().backward()) == 2 * FORWARD


@pytest.mark.parametrize(("name", "billions"), [("resnet18", 3.64), ("mobilenetv3_small_100", 0.112)])
def test_flops_of_known_networks_are_the_published_ones(name, billions):
    torch.manual_seed(0)
    net = TimmArchitecture(name, "timm").build(1000, 3, 224)
    assert flops(net, (3, 224, 224)) / 1e9 == pytest.approx(billions, rel=0.03)


def test_counting_leaves_the_backbone_unchanged():
    net = TimmArchitecture("test_resnet").build(8, 3, 28)
    next(net.children()).eval()
    before = {n: t.clone() for n, t in net.state_dict().items()}
    modes = [m.training for m in net.modules()]
    flops(net, (3, 28, 28))
    assert [m.training for m in net.modules()] == modes
    assert all(torch.equal(t, before[n]) for n, t in net.state_dict().items())
