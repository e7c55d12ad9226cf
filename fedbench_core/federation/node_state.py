"""What a node keeps between turns, as bytes: safetensors for tensors, JSON for the rest, nothing pickled."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ValidationError
from torch import Tensor

from fedbench_core.api import Memory, RunError, pack, unpack
from fedbench_core.federation.files import Blob

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Weights:
    """The tensors of a network, its name, and (for a declared module) the sizes that it was made with."""

    name: str
    tensors: Tensors
    sizes: Mapping[str, int] | None = None


@dataclass
class NodeState:
    """A client or an aggregator between turns. compressors: the memory of each, by way or channel."""

    models: dict[str, Weights] = field(default_factory=dict)
    modules: dict[str, Weights] = field(default_factory=dict)
    memory: Memory = field(default_factory=dict)
    compressors: dict[str, Memory] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.models or self.modules or self.memory or any(self.compressors.values()))

    def to_bytes(self) -> bytes:
        """The state as one safetensors file; RunError names an entry that can't be stored."""
        networks = [*self.models.values(), *self.modules.values()]
        tensors = {
            f"network {n}/{name}": value for n, one in enumerate(networks) for name, value in one.tensors.items()
        }
        memories = [self.memory, *self.compressors.values()]
        for number, memory in enumerate(memories):
            check_memory(memory)
            tensors |= {f"memory {number}/{key}": v for key, v in memory.items() if isinstance(v, Tensor)}
        plain = [{key: v for key, v in memory.items() if not isinstance(v, Tensor)} for memory in memories]
        meta = {
            "models": [[role, one.name] for role, one in self.models.items()],
            "modules": [[role, one.name, one.sizes] for role, one in self.modules.items()],
            "compressors": list(self.compressors),
            "plain": plain,
        }
        return pack(tensors, meta)

    @classmethod
    def from_bytes(cls, blob: Blob) -> "NodeState":
        """The state that `to_bytes` wrote; PayloadError or RunError for anything else."""
        tensors, meta = unpack(blob)
        _check_meta(meta)
        names = [*((role, name, None) for role, name in meta["models"]), *meta["modules"]]
        networks = {
            (number, role): Weights(name, _group(f"network {number}/", tensors), sizes)
            for number, (role, name, sizes) in enumerate(names)
        }
        memories = [{**plain, **_group(f"memory {n}/", tensors)} for n, plain in enumerate(meta["plain"])]
        count = len(meta["models"])
        return cls(
            {role: one for (number, role), one in networks.items() if number < count},
            {role: one for (number, role), one in networks.items() if number >= count},
            memories[0],
            dict(zip(meta["compressors"], memories[1:], strict=True)),
        )


class _Meta(BaseModel):
    """What a state holds besides tensors: roles with the names and sizes of networks, and memories."""

    models: list[tuple[str, str]]
    modules: list[tuple[str, str, dict[str, int]]]
    compressors: list[str]
    plain: list[dict[str, float | str]]


def _check_meta(meta: Mapping[str, Any]) -> None:
    """RunError unless `meta` has the form that `to_bytes` gives it: run folders may come from others."""
    try:
        found = _Meta.model_validate(meta)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise RunError(f"a stored state is damaged: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    if len(found.plain) != 1 + len(found.compressors):
        raise RunError(f"a stored state is damaged: it has {len(found.plain)} memories")


def copied(memory: Memory, device: str) -> Memory:
    """A copy of a memory, with its tensors on `device`."""
    return {key: value.to(device, copy=True) if isinstance(value, Tensor) else value for key, value in memory.items()}


def check_memory(memory: Memory) -> None:
    """RunError that names an entry which can't be stored."""
    for key, value in memory.items():
        if not isinstance(key, str):
            raise RunError(f"the keys of memory are text; {key!r} is of type {type(key).__name__}")
        if not isinstance(value, Tensor | int | float | str):
            raise RunError(f"memory holds tensors, numbers and strings; {key!r} is of type {type(value).__name__}")


def _group(prefix: str, tensors: Mapping[str, Any]) -> dict[str, Any]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
