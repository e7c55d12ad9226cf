"""What a party keeps between turns, as bytes: safetensors for tensors, JSON for the rest, nothing pickled."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from fedbench_core.api import Memory, RunError, pack, unpack
from fedbench_core.federation.calls import Blob


@dataclass
class Kept:
    """A client between turns: weights by role, its memory, and its compressor's memory."""

    models: dict[str, tuple[str, dict[str, Tensor]]] = field(default_factory=dict)
    memory: Memory = field(default_factory=dict)
    sent: Memory = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.models or self.memory or self.sent)

    @property
    def nbytes(self) -> int:
        """What its tensors take in memory."""
        tensors = [tensor for _, weights in self.models.values() for tensor in weights.values()]
        tensors += [value for value in (*self.memory.values(), *self.sent.values()) if isinstance(value, Tensor)]
        return sum(tensor.nbytes for tensor in tensors)

    def check(self) -> None:
        """RunError that names an entry which cannot rest."""
        for memory in (self.memory, self.sent):
            check_memory(memory)

    def to_bytes(self) -> bytes:
        """The state as one safetensors file."""
        tensors, values = _parted({"memory": self.memory, "sent": self.sent})
        for number, (_, weights) in enumerate(self.models.values()):
            tensors |= {f"model {number}/{name}": value for name, value in weights.items()}
        roles = [[role, backbone] for role, (backbone, _) in self.models.items()]
        return pack(tensors, {"values": values, "roles": roles})

    @classmethod
    def from_bytes(cls, blob: Blob) -> "Kept":
        """What `to_bytes` wrote."""
        tensors, meta = unpack(blob)
        memories = _joined(
            {key: value for key, value in tensors.items() if not key.startswith("model ")}, meta["values"]
        )
        models = {
            role: (backbone, _below(f"model {number}/", tensors))
            for number, (role, backbone) in enumerate(meta["roles"])
        }
        return cls(models, memories.get("memory", {}), memories.get("sent", {}))


def copied(memory: Memory, device: str) -> Memory:
    """A memory on `device` whose tensors may be changed in place without changing the original."""
    return {key: value.to(device, copy=True) if isinstance(value, Tensor) else value for key, value in memory.items()}


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _parted(memories: dict[str, Memory]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    tensors: dict[str, Tensor] = {}
    values: dict[str, dict[str, Any]] = {}
    for section, memory in memories.items():
        check_memory(memory)
        for key, value in memory.items():
            if isinstance(value, Tensor):
                tensors[f"{section}/{key}"] = value
            else:
                values.setdefault(section, {})[key] = value
    return tensors, values


def check_memory(memory: Memory) -> None:
    """RunError that names an entry which cannot rest."""
    for key, value in memory.items():
        if not isinstance(value, Tensor | int | float | str):
            raise RunError(f"memory holds tensors, numbers and strings; {key!r} is a {type(value).__name__}")


def _joined(tensors: dict[str, Tensor], values: dict[str, Any]) -> dict[str, Memory]:
    memories: dict[str, Memory] = {section: dict(entries) for section, entries in values.items()}
    for path, tensor in tensors.items():
        section, _, key = path.partition("/")
        memories.setdefault(section, {})[key] = tensor
    return memories
