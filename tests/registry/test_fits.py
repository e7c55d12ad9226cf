from dataclasses import dataclass
from types import MappingProxyType

import pytest

from fedbench_core.api import API_VERSION, Compressor, Method, RequestError
from fedbench_core.parts.aggregators import Mean
from fedbench_core.parts.compressors import Dense
from fedbench_core.parts.partitioners import Iid
from fedbench_core.parts.topologies import Star
from fedbench_core.registry import registry
from fedbench_core.registry.fits import misfit, wrong_method


class ByKeyword(Dense):
    def encode(self, payload, *, ctx, memory):
        return payload


class Generous(Dense):
    def encode(self, *arguments, **more):
        return arguments[0]


class Further(Dense):
    def encode(self, payload, ctx, memory, rank=3):
        return payload


class Needy(Dense):
    def encode(self, payload, ctx, memory, rank):
        return payload


class Half(Compressor):
    def encode(self, payload, ctx, memory):
        return payload


class Duck:
    def encode(self, payload, ctx, memory):
        return payload

    def decode(self, payload):
        return payload


class Quacks:
    def open(self, ctx, memory, standing):
        return None


@dataclass(frozen=True)
class Few(Mean):
    takes: str = "few"


class Apart(Star):
    connected = False


class Other(Mean):
    pass


class Maybe(Mean):
    streaming = "now and then"


@pytest.mark.parametrize(
    ("kind", "part"),
    [
        ("compressor", Dense()),
        ("compressor", Generous()),
        ("compressor", Further()),
        ("compressor", Duck()),
        ("aggregator", Mean()),
        ("partitioner", Iid()),
        ("topology", Apart()),
    ],
)
def test_what_takes_what_the_contract_gives_fits(kind, part) -> None:
    assert misfit(kind, part) == ""


@pytest.mark.parametrize(
    ("kind", "part", "says"),
    [
        (
            "compressor",
            ByKeyword(),
            "ByKeyword.encode does not take payload, ctx, memory, as version 1 of the contract",
        ),
        ("compressor", Needy(), "Needy.encode does not take payload, ctx, memory"),
        ("compressor", Half(), "Half defines no 'decode': subclass fedbench_core.api.Compressor and write it"),
        ("compressor", {}, "dict defines no 'decode'"),
        ("compressor", None, "NoneType defines no 'decode'"),
        ("aggregator", Quacks(), "Quacks declares no 'takes'"),
        ("aggregator", Few(), "it declares takes = 'few'; expected 'many' or 'one'"),
        ("aggregator", Maybe(), "it declares streaming = 'now and then'; expected True or False"),
        ("topology", Other(), "Other defines no 'home'"),
    ],
)
def test_what_does_not_is_told_with_what_is_asked(kind, part, says) -> None:
    assert says in misfit(kind, part)


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({}, ""),
        ({"pinned": ("topology", "aggregator.uniform"), "options": {"local_update": {"mu": 1}}}, ""),
        ({"options": MappingProxyType({"downlink": MappingProxyType({"rank": 3})})}, ""),
        ({"pinned": ("partitioner",)}, "pins 'partitioner'; what can be pinned are aggregator, compressor, downlink"),
        ({"fidelity": "some"}, "has fidelity = 'some': input should be 'full' or 'reconstruction'"),
        ({"mixed_backbones": "perhaps"}, "has mixed_backbones = 'perhaps': input should be a valid boolean"),
        (
            {"options": {"backbone": {"stem": "timm"}}},
            "has options of backbone; its parts are local_update, aggregator",
        ),
    ],
)
def test_a_method_says_of_itself_what_can_be(said, says) -> None:
    told = wrong_method(Method("x", **said))
    assert told.startswith(says)
    assert bool(told) == bool(says)


def test_every_part_of_the_core_fits() -> None:
    for kind in ("partitioner", "local_update", "compressor", "aggregator", "topology"):
        for name in registry().names(kind):
            registry().make(kind, name)


def test_a_part_of_another_version_is_refused_before_a_run(distribution) -> None:
    distribution(
        "fedbench-old",
        "from fedbench_core.api import hookimpl\nfrom fedbench_core.parts.compressors import Dense\n"
        "class Old(Dense):\n    def encode(self, payload): return payload\n"
        "@hookimpl\ndef fedbench_register_compressors(): return {'t-old': Old}",
    )
    registry.cache_clear()
    try:
        with pytest.raises(RequestError) as caught:
            registry().make("compressor", "t-old")
    finally:
        registry.cache_clear()
    assert str(caught.value) == (
        "The compressor 't-old' of fedbench-old 1.0 (entry point 'parts') cannot be used: Old.encode does not take "
        f"payload, ctx, memory, as version {API_VERSION} of the contract gives them (see fedbench_core.api.Compressor)."
    )
