"""Whether a part has the form that this version of the contract asks for: names, signatures, declarations."""

import inspect
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any

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
    }
)
_WORDS = {
    "takes": ("many", "one"),
    "by": ("labels", "sites"),
    "streaming": (True, False),
    "connected": (True, False),
    "trains": (True, False),
    "reaches_absent": (True, False),
}
"""What may be declared."""
_OPTIONAL = {"setup", "check", "channel", "predictors", "global_predictors"}
"""Methods of protocols that a part may leave as they are."""


_FREE = ("aggregator", "compressor", "downlink", "topology")
"""What of a method can be swapped, and so be pinned."""


def wrong_method(method: object) -> str:
    """Why what a hook gives as a method is none, or says of itself what cannot be; "" if all is well."""
    if not isinstance(method, Method):
        return f"is of type {type(method).__name__}, not a Method"
    try:
        TypeAdapter(Method).validate_python(vars(method))
    except ValidationError as error:
        problem = error.errors()[0]
        name = str(problem["loc"][0])
        return f"has {name} = {vars(method)[name]!r}: {problem['msg'].lower()}"
    for pin in method.pinned:
        if pin.partition(".")[0] not in _FREE:
            return f"pins {pin!r}; what can be pinned are {', '.join(_FREE)}, or an option of theirs"
    odd = method.options.keys() - {"local_update", *_FREE}
    return f"has options of {', '.join(sorted(odd))}; its parts are local_update, {', '.join(_FREE)}" if odd else ""


def declared(kind: str, factory: object) -> dict[str, object]:
    """What the class that makes a part declares of it: {"takes": "many", "streaming": True}."""
    protocol = _PROTOCOLS.get(kind)
    words = [word for word in _WORDS if hasattr(protocol, word)] if isinstance(factory, type) else []
    return {word: getattr(factory, word) for word in words if hasattr(factory, word)}


def misfit(kind: str, part: object) -> str:
    """Why `part`, which a factory of a kind has made, cannot be used as one; "" if it can."""
    protocol = _PROTOCOLS[kind]
    own: Any = type(part)
    return _wrong_methods(protocol, own) or _wrong_declarations(protocol, part)


@lru_cache(maxsize=256)
def _wrong_methods(protocol: type, own: Any) -> str:
    for name, method in inspect.getmembers(protocol, inspect.isfunction):
        if name.startswith("_"):
            continue
        given = getattr(own, name, None)
        if given is None or (given is method and name not in _OPTIONAL):
            return f"{own.__name__} defines no {name!r}: {_advice(protocol)}"
        asked = [parameter for parameter in inspect.signature(method).parameters if parameter != "self"]
        if not _takes(own, name, asked):
            return (
                f"{own.__name__}.{name} does not take {', '.join(asked)}, as version {API_VERSION} of the contract "
                f"gives them (see fedbench_core.api.{protocol.__name__})"
            )
    return ""


def _takes(own: type, name: str, asked: Sequence[str]) -> bool:
    """Whether a method of the class `own` can be called with these arguments, in this order."""
    itself = ["self"] if inspect.isfunction(inspect.getattr_static(own, name)) else []
    try:
        inspect.signature(getattr(own, name)).bind(*itself, *asked)
    except TypeError:
        return False
    except ValueError:  # something built in, whose signature nobody knows
        return True
    return True


def _wrong_declarations(protocol: type, part: object) -> str:
    properties = [name for name, _ in inspect.getmembers(protocol, lambda member: isinstance(member, property))]
    for name in (*properties, *(word for word in _WORDS if hasattr(protocol, word))):
        if not hasattr(part, name):
            return f"{type(part).__name__} declares no {name!r}: {_advice(protocol)}"
        words = _WORDS.get(name)
        if words and getattr(part, name) not in words:
            return f"it declares {name} = {getattr(part, name)!r}; expected {' or '.join(map(repr, words))}"
    return ""


def _advice(protocol: type) -> str:
    return f"subclass fedbench_core.api.{protocol.__name__} and write it"
