"""What one party says to another: named tensors and a few words about them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from fedbench_core.api.errors import FedbenchError

# One key for all metadata: safetensors writes several in random order, and equal payloads must be equal bytes.
_META = "meta"


class PayloadError(FedbenchError):
    """Bytes that are no payload, or tensors that do not fit where they are put."""


def pack(tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> bytes:
    """Tensors and JSON-able `meta` as one safetensors file; equal content gives equal bytes.

    Any memory layout is accepted (tied, transposed, channels-last); values are written in row-major order.
    """
    plain: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        storage = tensor.untyped_storage().data_ptr()
        plain[name] = tensor.clone() if storage in storages else tensor  # safetensors refuses memory that is shared
        storages.add(storage)
    try:
        return save(plain, {_META: json.dumps(meta, sort_keys=True)})
    except (SafetensorError, ValueError, KeyError) as error:
        raise PayloadError(f"these tensors cannot be written: {error}") from error


def unpack(blob: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors (in memory of their own) and the meta that `pack` wrote; raises PayloadError on anything else."""
    try:
        header = json.loads(blob[8 : 8 + int.from_bytes(blob[:8], "little")])
        meta = json.loads(header.get("__metadata__", {}).get(_META, "{}"))
        tensors = load(blob)
    except (SafetensorError, ValueError, KeyError, AttributeError) as error:
        raise PayloadError(f"these {len(blob)} bytes are no payload: {error}") from error
    # Into torch's own, aligned memory: kernels may take another path, to other bits, on unaligned memory.
    return {name: tensors[name].clone() for name in sorted(tensors)}, meta


@dataclass(frozen=True)
class Payload:
    """Named tensors plus metadata, both strings to strings; the only thing that ever travels."""

    tensors: Mapping[str, Tensor]
    meta: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, module: nn.Module, **meta: str) -> "Payload":
        """Every parameter and buffer of `module`, as views: encode it before the module trains on."""
        return cls({name: value.detach() for name, value in module.state_dict().items()}, meta)

    def load_into(self, module: nn.Module) -> None:
        """Copy the tensors into `module`; raises PayloadError that names what is missing, extra or misshapen."""
        try:
            module.load_state_dict(dict(self.tensors))
        except RuntimeError as error:
            raise PayloadError(f"this payload does not fit the model: {error}") from error

    def to_bytes(self) -> bytes:
        """The payload as a safetensors file, deterministic."""
        return pack(self.tensors, dict(self.meta))

    @classmethod
    def from_bytes(cls, blob: bytes) -> "Payload":
        """What `to_bytes` wrote; raises PayloadError on anything else."""
        return cls(*unpack(blob))
