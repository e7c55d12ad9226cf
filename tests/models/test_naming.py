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
def test_name_resolves_to_the_timm_id(name, exact):
    assert resolve(name) == exact


def test_alias_resolves_to_a_timm_id():
    assert {resolve(alias) for alias in naming.ALIASES} == set(naming.ALIASES.values())
    assert not set(naming.ALIASES) & set(listed())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("resnet19", r"'resnet19'.*Did you mean 'resnet.*fedbench list backbones 'resnet\*'"),
        ("ResNet18", "Did you mean 'resnet18'"),
        ("mobilnetv3", "Did you mean 'mobilenetv3"),
        ("resnet10*", "resnet10t, resnet101, .*: choose one"),
        ("convnext", r"convnext_atto, .* and \d+ more: choose one"),
        ("qqqq", r"^[^']*'qqqq'\. List timm's backbones: fedbench list backbones 'qqqq\*'.$"),
        ("resnet18.a9_in1k", r"'a9_in1k' of resnet18.*resnet18\.a1_in1k.*[Uu]se resnet18 "),
    ],
)
def test_unknown_name_is_refused_with_what_to_type_next(name, text):
    with pytest.raises(RequestError, match=text) as raised:
        resolve(name)
    assert len(str(raised.value)) < 600


def test_names_match_a_wildcard_or_contain_the_pattern():
    assert listed("resnet1?") == ["resnet18"]
    assert "resnet10t" in listed("resnet1*")
    assert "tf_mobilenetv3_small_100" in listed("mobilenetv3_small")
    assert "resnet18" in listed()
    assert listed("qqqq*") == []


def test_pretrained_weights_are_named_by_their_tag():
    assert TimmArchitecture("resnet18", pretrained=True).name == "resnet18.a1_in1k"
    assert TimmArchitecture("resnet18.fb_ssl_yfcc100m_ft_in1k", pretrained=True).name.endswith("yfcc100m_ft_in1k")
    with pytest.raises(RequestError, match=r"resnet18\.a1_in1k.*--pretrained.*resnet18"):
        TimmArchitecture("resnet18.a1_in1k")
    with pytest.raises(RequestError, match="mobilenetv3_large_075"):
        TimmArchitecture("mobilenetv3_large_075", pretrained=True)


def test_names_in_the_source_of_timm_are_those_that_it_lists() -> None:
    assert naming._declared() == set(naming.names())
