import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

from fedbench_core.api import RequestError
from fedbench_core.models import TimmArchitecture, TimmBackbone, parameters

NETS = [
    "test_resnet",
    "test_efficientnet",
    "test_vit",
    "test_mambaout",
    "resnet10t",
    "resnet18",
    "resnetv2_18",  # its head is a convolution
    "mobilenetv3_small_050",
    "mobilenetv3_small_100",
    "vit_tiny_patch16_224",
    "convnext_atto",
    "densenet121",
    "efficientvit_m0",  # a norm lies between its pooling and its head
]


def build(name, stem="auto", outputs=8, channels=3, image_size=28):
    torch.manual_seed(0)
    return TimmArchitecture(name, stem).build(outputs, channels, image_size)


def images(count=3, channels=3, size=28):
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(1))


def head_of(net):
    """The linear layer that gives the logits, whatever its kind."""
    head = net.head
    return head.weight.flatten(1), head.bias


@pytest.fixture(scope="module", params=NETS)
def built(request):
    return build(request.param)


@pytest.fixture
def net(built):
    return copy.deepcopy(built)


class TestEveryNetwork:
    def test_logits_of_outputs_are_those_of_forward(self, net):
        batch = images()
        for mode in (False, True):
            net.train(mode)
            torch.manual_seed(2)  # dropout draws
            logits = copy.deepcopy(net)(batch)
            torch.manual_seed(2)
            assert torch.equal(net.outputs(batch).logits, logits)
        assert logits.shape == (3, 8)

    def test_embedding_is_the_input_of_the_head(self, net):
        found = net.eval().outputs(images())
        weight, bias = head_of(net)
        assert found.embedding.shape == (3, net.embedding_size)
        assert torch.allclose(found.embedding @ weight.T + bias, found.logits, atol=1e-4)

    def test_maps_shrink_towards_the_head(self, net):
        maps = net.eval().outputs(images()).maps
        sides = [m.shape[-1] for m in maps]
        assert all(m.dim() == 4 and len(m) == 3 and m.shape[2] == m.shape[3] for m in maps)
        assert sides == sorted(sides, reverse=True)

    def test_gradients_of_logits_reach_every_parameter(self, net):
        net.outputs(images()).logits.square().sum().backward()
        assert all(p.grad is not None for p in net.parameters() if p.requires_grad)

    def test_state_dict_round_trips(self, net):
        torch.manual_seed(3)
        other = TimmArchitecture(net.name).build(8, 3, 28).eval()
        logits = net.eval()(images())
        assert not torch.equal(other(images()), logits)
        other.load_state_dict(net.state_dict())
        assert torch.equal(other(images()), logits)


class TestSizes:
    @pytest.mark.parametrize(("stem", "count"), [("small", 11_172_936), ("timm", 11_180_616)])
    def test_resnet18_has_the_published_number_of_parameters(self, stem, count):
        assert parameters(build("resnet18", stem)) == count

    @pytest.mark.parametrize(
        ("name", "size", "stem", "side"),
        [
            ("resnet18", 28, "auto", 4),
            ("resnet18", 28, "timm", 1),
            ("resnet18", 32, "auto", 4),
            ("resnet18", 64, "auto", 2),
            ("resnet18", 64, "small", 8),
            ("mobilenetv3", 28, "auto", 2),
            ("mobilenetv3", 28, "timm", 1),
            ("test_vit", 28, "auto", 7),
            ("test_vit", 64, "auto", 4),
            ("swin_tiny_patch4_window7_224", 28, "auto", 4),
        ],
    )
    def test_last_map_has_the_expected_size(self, name, size, stem, side):
        assert build(name, stem, image_size=size).eval().outputs(images(size=size)).maps[-1].shape[2:] == (side, side)

    @pytest.mark.parametrize("name", ["test_resnet", "mobilenetv3", "test_vit"])
    @pytest.mark.parametrize("channels", [1, 28])
    def test_channels_may_be_any_number(self, name, channels):
        net = build(name, outputs=2, channels=channels).eval()
        assert net.outputs(images(channels=channels)).logits.shape == (3, 2)

    def test_embedding_of_mobilenetv3_has_1024_entries(self):
        assert build("mobilenetv3").embedding_size == 1024

    def test_unsupported_size_is_refused_with_the_flags_that_help(self):
        text = r"test_maxvit .*28-pixel.* backbone\.stem=small .*--image-size, --set backbone\.stem=timm,"
        with pytest.raises(RequestError, match=text):
            build("test_maxvit")


class TestMemoryFormat:
    @pytest.mark.parametrize(
        ("name", "layout"), [("mobilenetv3", torch.channels_last), ("test_resnet", torch.contiguous_format)]
    )
    def test_memory_format_survives_loading(self, name, layout):
        net = build(name)
        net.load_state_dict({n: t.clone(memory_format=torch.contiguous_format) for n, t in net.state_dict().items()})
        maps = net.eval().outputs(images()).maps
        assert all(m.is_contiguous(memory_format=layout) for m in maps)

    @pytest.mark.parametrize("name", ["mobilenetv3", "test_resnet"])
    def test_memory_format_of_the_input_does_not_matter(self, name):
        net, batch = build(name).eval(), images()
        assert torch.equal(net(batch.to(memory_format=torch.channels_last)), net(batch))


class TestWithoutMaps:
    def test_outputs_are_refused_and_logits_work(self):
        net = build("deit_tiny_distilled_patch16_224")  # two heads, which read two embeddings
        assert net(images()).shape == (3, 8)
        with pytest.raises(RequestError, match=r"deit_tiny.*VisionTransformerDistilled"):
            net.outputs(images())

    def test_outputs_with_different_logits_are_refused(self):
        class Inconsistent(nn.Module):
            """A network whose forward_head and forward return different logits."""

            num_features = 4

            def __init__(self):
                super().__init__()
                self.head = nn.Linear(4, 2)

            def forward(self, x):
                return self.forward_head(x) + 1

            def forward_head(self, x):
                return self.head(x.mean(dim=(2, 3)))

            def forward_intermediates(self, x):
                return x, [x]

            def get_classifier(self):
                return self.head

        net = TimmBackbone("inconsistent", Inconsistent(), torch.ones(1, 4, 2, 2))
        with pytest.raises(RequestError, match="different logits"):
            net.outputs(torch.ones(1, 4, 2, 2))


class TestBuilding:
    @pytest.mark.parametrize("name", ["test_resnet", "mobilenetv3", "test_vit"])
    def test_same_seed_gives_the_same_weights(self, name):
        first, same = build(name).state_dict(), build(name).state_dict()
        assert all(torch.equal(tensor, same[key]) for key, tensor in first.items())

    def test_new_backbone_is_in_training_mode_with_fresh_statistics(self):
        net = build("test_resnet")
        assert net.training
        assert all(int(t) == 0 for n, t in net.state_dict().items() if n.endswith("num_batches_tracked"))

    def test_probe_and_skeleton_draw_no_random_numbers(self):
        build("test_vit")
        after = torch.get_rng_state()
        import timm  # noqa: PLC0415  # as slow here as there

        torch.manual_seed(0)
        timm.create_model("test_vit", num_classes=8, in_chans=3, img_size=28, patch_size=4)
        assert torch.equal(torch.get_rng_state(), after)

    def test_name_is_the_timm_id(self):
        assert TimmArchitecture("mobilenetv3").name == build("mobilenetv3").name == "mobilenetv3_small_100"

    def test_unknown_stem_is_refused(self):
        with pytest.raises(RequestError, match="'tiny'"):
            TimmArchitecture("resnet18", "tiny")


def test_import_of_the_package_does_not_import_timm():
    code = "import sys, fedbench_core.models; sys.exit({'timm', 'torchmetrics', 'huggingface_hub'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).stderr.decode() == "set()\n"
