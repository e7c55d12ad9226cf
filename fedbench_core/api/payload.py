"""What one party says to another: named tensors and a few words about them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from safetensors import SafetensorError, deserialize, serialize
from torch import Tensor, nn

from fedbench_core.api.errors import FedbenchError

# One key for all metadata: safetensors writes several in random order, and equal payloads must be equal bytes.
_META = "meta"
_DTYPES = {
    torch.float64: "float64",
    torch.float32: "float32",
    torch.float16: "float16",
    torch.bfloat16: "bfloat16",
    torch.int64: "int64",
    torch.int32: "int32",
    torch.int16: "int16",
    torch.int8: "int8",
    torch.uint8: "uint8",
    torch.bool: "bool",
}
_TORCH = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


class PayloadError(FedbenchError):
    """Bytes that are no payload, or tensors that do not fit where they are put."""


def pack(tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> bytes:
    """Tensors and JSON-able `meta` as one safetensors file; equal content gives equal bytes.

    Any memory layout is accepted (tied, transposed, channels-last); values are written in row-major order.
    """
    entries: dict[str, Any] = {}
    for name in sorted(tensors):
        tensor = tensors[name].detach()
        if tensor.dtype not in _DTYPES:
            raise PayloadError(
                f"tensor {name!r} has dtype {tensor.dtype}; a payload holds {', '.join(_DTYPES.values())}"
            )
        flat = tensor.cpu().contiguous().reshape(-1)
        entries[name] = {
            "dtype": _DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data": flat.view(torch.uint8).numpy().tobytes(),
        }
    return serialize(entries, {_META: json.dumps(meta, sort_keys=True)})


def unpack(blob: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors (in memory of their own) and the meta that `pack` wrote; raises PayloadError on anything else."""
    try:
        header = json.loads(blob[8 : 8 + int.from_bytes(blob[:8], "little")])
        meta = json.loads(header.get("__metadata__", {}).get(_META, "{}"))
        tensors = {name: _tensor(entry) for name, entry in deserialize(blob)}  # type: ignore[no-untyped-call]  # the library has no stub for it
    except (SafetensorError, ValueError, KeyError, AttributeError) as error:
        raise PayloadError(f"these {len(blob)} bytes are no payload: {error}") from error
    return {name: tensors[name] for name in sorted(tensors)}, meta


def _tensor(entry: Mapping[str, Any]) -> Tensor:
    dtype, shape, data = _TORCH[entry["dtype"]], entry["shape"], entry["data"]
    tensor = torch.empty(shape, dtype=dtype)
    if data:  # an own, aligned copy: kernels may take another path, to other bits, on unaligned memory
        tensor.view(-1).copy_(torch.frombuffer(bytearray(data), dtype=dtype))
    return tensor


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
