import pytest

from fedbench_core.api import RequestError
from fedbench_core.models import TimmArchitecture, naming, resolve
from fedbench_core.models import names as listed


@pytest.mark.parametrize(
    ("name", "exact"),
    [
        ("resnet18", "resnet18"),
        ("mobilenetv3", "mobilenetv3_small_100"),
        ("resnet18.a1_in1k", "resnet18.a1_in1k"),
    ],
)
def test_resolves_to_the_exact_id(name, exact):
    assert resolve(name) == exact


def test_every_alias_stands_for_a_timm_id():
    assert {resolve(alias) for alias in naming.ALIASES} == set(naming.ALIASES.values())
    assert not set(naming.ALIASES) & set(listed())


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("resnet19", r"No backbone named 'resnet19'. Did you mean 'resnet.*fedbench list backbones 'resnet\*'"),
        ("ResNet18", "Did you mean 'resnet18'"),
        ("mobilnetv3", "Did you mean 'mobilenetv3"),
        ("resnet10*", "It fits resnet10t, resnet101, .*: name one of them"),
        ("convnext", r"It fits convnext_atto, .* and \d+ more: name one of them"),
        ("qqqq", r"^No backbone named 'qqqq'. Search timm's with: fedbench list backbones 'qqqq\*'.$"),
        ("resnet18.a9_in1k", r"no weights 'a9_in1k' of resnet18. Available: resnet18.a1_in1k.*use resnet18"),
    ],
)
def test_a_miss_says_what_to_type_next(name, says):
    with pytest.raises(RequestError, match=says) as raised:
        resolve(name)
    assert len(str(raised.value)) < 600


def test_lists_by_wildcard_or_by_part():
    assert listed("resnet1?") == ["resnet18"]
    assert "resnet10t" in listed("resnet1*")
    assert "tf_mobilenetv3_small_100" in listed("mobilenetv3_small")
    assert "resnet18" in listed()
    assert listed("qqqq*") == []


def test_weights_have_names_of_their_own():
    assert TimmArchitecture("resnet18", pretrained=True).name == "resnet18.a1_in1k"
    assert TimmArchitecture("resnet18.fb_ssl_yfcc100m_ft_in1k", pretrained=True).name.endswith("yfcc100m_ft_in1k")
    with pytest.raises(RequestError, match=r"resnet18.a1_in1k names pretrained weights: add --pretrained, or use"):
        TimmArchitecture("resnet18.a1_in1k")
    with pytest.raises(RequestError, match="no pretrained weights of mobilenetv3_large_075"):
        TimmArchitecture("mobilenetv3_large_075", pretrained=True)
