import inspect
from dataclasses import dataclass
from types import MappingProxyType

import pytest

from fedbench_core.api import API_VERSION, Aggregator, Compressor, Method, RequestError
from fedbench_core.parts.aggregators import Mean
from fedbench_core.parts.compressors import Dense
from fedbench_core.parts.partitioners import Iid
from fedbench_core.parts.topologies import Star
from fedbench_core.registry import registry
from fedbench_core.registry.checks import MIGRATION, class_problem, method_problem, part_problem


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


class Undeclared:
    """The methods of an aggregator and none of its declarations."""


for _name, _ in inspect.getmembers(Aggregator, inspect.isfunction):
    if not _name.startswith("_"):
        setattr(Undeclared, _name, lambda *_arguments: None)


@dataclass(frozen=True)
class Few(Mean):
    takes: str = "few"


class Apart(Star):
    connected = False


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
def test_part_that_accepts_the_arguments_of_the_contract_is_valid(kind, part) -> None:
    assert part_problem(kind, part) == class_problem(kind, type(part)) == ""


@pytest.mark.parametrize(
    ("kind", "part", "text"),
    [
        ("compressor", ByKeyword(), "ByKeyword.encode does not take payload, ctx, memory"),
        ("compressor", Needy(), "Needy.encode does not take payload, ctx, memory"),
        ("compressor", Half(), "Half defines no 'decode': subclass fedbench_core.api.Compressor"),
        ("compressor", {}, "dict defines no 'decode'"),
        ("compressor", None, "NoneType defines no 'decode'"),
        ("aggregator", Undeclared(), "Undeclared declares no 'takes'"),
        ("aggregator", Few(), "it declares takes = 'few'; expected 'many' or 'one'"),
        ("aggregator", Maybe(), "it declares streaming = 'now and then'; expected True or False"),
        ("topology", Mean(), "Mean defines no "),
    ],
)
def test_part_that_does_not_is_refused_with_what_is_expected(kind, part, text) -> None:
    assert text in part_problem(kind, part)


@pytest.mark.parametrize(
    ("declared", "text"),
    [
        ({}, ""),
        ({"pinned": ("topology", "aggregator.uniform"), "options": {"local_update": {"mu": 1}}}, ""),
        ({"options": MappingProxyType({"downlink": MappingProxyType({"rank": 3})})}, ""),
        ({"pinned": ("partitioner",)}, "pins 'partitioner'"),
        ({"fidelity": "some"}, "has fidelity = 'some': input should be 'full' or 'reconstruction'"),
        ({"mixed_backbones": "perhaps"}, "has mixed_backbones = 'perhaps': input should be a valid boolean"),
        ({"options": {"backbone": {"stem": "timm"}}}, "has options of backbone"),
    ],
)
def test_method_with_an_invalid_declaration_is_refused(declared, text) -> None:
    problem = method_problem(Method("x", **declared))
    assert problem.startswith(text)
    assert bool(problem) == bool(text)


def test_every_part_of_the_core_is_valid() -> None:
    for kind in ("partitioner", "local_update", "compressor", "aggregator", "topology"):
        for name in registry().names(kind):
            registry().make(kind, name)


def test_part_from_a_function_is_checked_when_it_is_made(distribution) -> None:
    distribution(
        "fedbench-old",
        "from fedbench_core.api import hookimpl\nfrom fedbench_core.parts.compressors import Dense\n"
        "class Old(Dense):\n    def encode(self, payload): return payload\n"
        "@hookimpl\ndef fedbench_register_compressors(): return {'t-old': lambda: Old()}",
    )
    with pytest.raises(RequestError) as caught:
        registry().make("compressor", "t-old")
    names = ("'t-old'", "fedbench-old 1.0", "Old.encode", "payload, ctx, memory", f"version {API_VERSION}")
    assert all(part in str(caught.value) for part in (*names, MIGRATION))
