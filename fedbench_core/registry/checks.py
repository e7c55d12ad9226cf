"""Checks whether methods and parts implement the present version of the contract: methods, signatures, declarations."""

import inspect
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from types import MappingProxyType
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from fedbench_core.api import (
    API_VERSION,
    Aggregator,
    Architecture,
    Compressor,
    Dataset,
    LocalUpdate,
    Method,
    Partitioner,
    Topology,
    Tracker,
)

MIGRATION: Final = (
    "To migrate from contract 1: a local update has train() instead of update() and returns an Update instead of a "
    "Reply; received messages are of class Message; the server is called SERVER; an aggregator has start(state, ctx) "
    "instead of open(), and what that returns has result() instead of close(); a topology has receives_from() instead "
    "of home(), and its plan() returns phases of turns. `fedbench reference` prints the whole contract"
)

_PROTOCOLS: Mapping[str, type] = MappingProxyType(
    {
        "partitioner": Partitioner,
        "local_update": LocalUpdate,
        "compressor": Compressor,
        "aggregator": Aggregator,
        "topology": Topology,
        "dataset": Dataset,
        "backbone": Architecture,
        "tracker": Tracker,
    }
)
_DECLARATIONS: Mapping[str, tuple[object, ...]] = MappingProxyType(
    {
        "takes": ("many", "one"),
        "by": ("labels", "sites"),
        "streaming": (True, False),
        "trains": (True, False),
        "connected": (True, False),
        "reaches_absent": (True, False),
    }
)
"""Attributes that describe a class, with the values they may have."""
_OPTIONAL = {"check", "setup", "channel", "predictors", "global_predictors", "period"}
"""Methods that a subclass may inherit from its protocol."""
_SWAPPABLE = ("aggregator", "compressor", "downlink", "topology")
"""Parts of a method that a user can replace, and that a method can therefore pin."""


def method_problem(method: object) -> str:
    """Why an object registered as a method is not a valid Method; "" if it is."""
    if not isinstance(method, Method):
        return f"is of type {type(method).__name__}, not a Method"
    try:
        _method_adapter().validate_python(vars(method))
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        return f"has {name} = {vars(method)[name]!r}: {first['msg'].lower()}"
    for pin in method.pinned:
        if pin.partition(".")[0] not in _SWAPPABLE:
            return f"pins {pin!r}; expected {', '.join(_SWAPPABLE)}, or an option of one of these"
    extra = method.options.keys() - {"local_update", *_SWAPPABLE}
    return f"has options of {', '.join(sorted(extra))}; expected local_update, {', '.join(_SWAPPABLE)}" if extra else ""


@cache
def _method_adapter() -> TypeAdapter[Method]:
    return TypeAdapter(Method)  # made once: it takes longer than all checks


def declarations(kind: str, factory: object) -> dict[str, object]:
    """The declarations of the class that makes a part, such as {"takes": "many", "streaming": True}."""
    protocol = _PROTOCOLS.get(kind)
    names = [name for name in _DECLARATIONS if hasattr(protocol, name)] if isinstance(factory, type) else []
    return {name: getattr(factory, name) for name in names if hasattr(factory, name)}


def class_problem(kind: str, factory: object) -> str:
    """Why a class can't make parts of a kind; "" if it can, or if `factory` is a function."""
    return _methods_problem(_PROTOCOLS[kind], factory) if kind in _PROTOCOLS and isinstance(factory, type) else ""


def part_problem(kind: str, part: object) -> str:
    """Why `part` can't be used as a part of its kind; "" if it can."""
    protocol = _PROTOCOLS[kind]
    own: Any = type(part)
    return _methods_problem(protocol, own) or _declarations_problem(protocol, part)


@lru_cache(maxsize=256)
def _methods_problem(protocol: type, own: Any) -> str:
    for name, method in inspect.getmembers(protocol, inspect.isfunction):
        if name.startswith("_"):
            continue
        given = getattr(own, name, None)
        if given is None or (given is method and name not in _OPTIONAL):
            return f"{own.__name__} defines no {name!r}: {_advice(protocol)}. {MIGRATION}"
        expected = [parameter for parameter in inspect.signature(method).parameters if parameter != "self"]
        if not _accepts(own, name, expected):
            return (
                f"{own.__name__}.{name} does not take {', '.join(expected)}, the arguments in version {API_VERSION} "
                f"of the contract (see fedbench_core.api.{protocol.__name__}). {MIGRATION}"
            )
    return ""


def _accepts(own: type, name: str, expected: Sequence[str]) -> bool:
    """Whether a method of the class `own` can be called with these arguments, in this order."""
    itself = ["self"] if inspect.isfunction(inspect.getattr_static(own, name)) else []
    try:
        inspect.signature(getattr(own, name)).bind(*itself, *expected)
    except TypeError:
        return False
    except ValueError:  # a built-in without a signature
        return True
    return True


def _declarations_problem(protocol: type, part: object) -> str:
    for name in _declared(protocol):
        if not hasattr(part, name):
            return f"{type(part).__name__} declares no {name!r}: {_advice(protocol)}"
        values = _DECLARATIONS.get(name)
        if values and getattr(part, name) not in values:
            return f"it declares {name} = {getattr(part, name)!r}; expected {' or '.join(map(repr, values))}"
    return ""


@lru_cache(maxsize=256)
def _declared(protocol: type) -> tuple[str, ...]:
    """The names of what a part of this protocol declares."""
    properties = [name for name, _ in inspect.getmembers(protocol, lambda member: isinstance(member, property))]
    return (*properties, *(name for name in _DECLARATIONS if hasattr(protocol, name)))


def _advice(protocol: type) -> str:
    return f"subclass fedbench_core.api.{protocol.__name__} and define it"
