"""What nodes send to each other: named tensors and metadata."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from fedbench_core.api.errors import FedbenchError

# The format is that of safetensors (8 bytes of header length, a JSON header, the data). It is written here because
# payloads have hundreds of small tensors: this way each is copied once, and equal payloads are equal bytes.
_META = "meta"
_CODES = {
    "F64": torch.float64,
    "I64": torch.int64,
    "F32": torch.float32,
    "I32": torch.int32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_NAMES = {dtype: code for code, dtype in _CODES.items()}


class PayloadError(FedbenchError):
    """Bytes that are not a payload, or tensors that do not fit the network they are loaded into."""


def pack(tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> bytes:
    """Tensors and JSON-able `meta` as one safetensors file; equal content gives equal bytes.

    Any memory layout is accepted (tied, transposed, channels-last); values are written in row-major order. The widest
    dtypes come first, so that every tensor lies aligned.
    """
    header: dict[str, Any] = {"__metadata__": {_META: json.dumps(meta, sort_keys=True)}}
    data: list[Any] = []
    end = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0])):
        if tensor.dtype not in _NAMES:
            raise PayloadError(f"tensor {name!r} is {tensor.dtype}; a payload holds {', '.join(map(str, _NAMES))}")
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        flat = flat.view(torch.uint8) if flat.numel() else torch.empty(0, dtype=torch.uint8)  # views need strides
        start, end = end, end + flat.numel()
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
        data.append(flat.numpy())
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join((len(text).to_bytes(8, "little"), text, *data))


def unpack(blob: bytes | memoryview) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors (in memory of their own) and the meta that `pack` wrote; raises PayloadError on anything else."""
    try:
        start = 8 + int.from_bytes(blob[:8], "little")
        header = json.loads(bytes(blob[8:start]))
        meta = dict(json.loads(header.pop("__metadata__")[_META]))
        _check_cover((entry["data_offsets"] for entry in header.values()), len(blob) - start)
        data = _copied(blob, start)
        return {name: _tensor(data, header[name]) for name in sorted(header)}, meta
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, OverflowError, RecursionError) as error:
        raise PayloadError(f"these {len(blob)} bytes are no payload: {error!r}") from error


def _check_cover(spans: Iterable[list[int]], size: int) -> None:
    """Every byte of the data belongs to exactly one tensor."""
    end = 0
    for start, stop in sorted(spans):
        if start != end or stop < start:
            raise ValueError("tensors overlap or leave a gap")
        end = stop
    if end != size:
        raise ValueError(f"{end} bytes of data announced, {size} found")


def _copied(blob: bytes | memoryview, start: int) -> Tensor:
    """The data in torch's own, aligned memory: kernels may take another path, to other bits, on unaligned memory."""
    data = torch.empty(len(blob) - start, dtype=torch.uint8)
    data.numpy()[:] = memoryview(blob)[start:]
    return data


def _tensor(data: Tensor, entry: Mapping[str, Any]) -> Tensor:
    start, stop = entry["data_offsets"]
    if any(type(length) is not int or length < 0 for length in entry["shape"]):  # torch would infer a length of -1
        raise ValueError(f"a tensor has the shape {entry['shape']}")
    return data[start:stop].view(_CODES[entry["dtype"]]).view(entry["shape"])


Tensors = nn.Module | Mapping[str, Tensor]
"""A network, whose parameters and buffers are meant, or named tensors."""


@dataclass(frozen=True)
class Payload:
    """Named tensors and metadata (strings to strings): the only thing that is ever sent."""

    tensors: Mapping[str, Tensor]
    meta: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, whole: Tensors | None = None, *, meta: Mapping[str, str] | None = None, **parts: Tensors) -> "Payload":
        """Every parameter and buffer of a network, as views: serialize them before the network trains on.

        Of several networks, or groups of tensors, as `Payload.of(model=net, control=controls)`: the names of the
        tensors are then "model/...", "control/...", and `part` returns one group.
        """
        tensors = {} if whole is None else _state(whole)
        for part, group in parts.items():
            tensors |= {f"{part}/{name}": value for name, value in _state(group).items()}
        return cls(tensors, dict(meta or {}))

    def part(self, name: str) -> "Payload":
        """The tensors of one group, under their own names, with the same meta."""
        prefix = f"{name}/"
        tensors = {key.removeprefix(prefix): value for key, value in self.tensors.items() if key.startswith(prefix)}
        return Payload(tensors, self.meta)

    def select(self, names: Collection[str]) -> "Payload":
        """The tensors with these names, such as those of a network that are shared, with the same meta."""
        return Payload({name: value for name, value in self.tensors.items() if name in names}, self.meta)

    def load_into(self, module: nn.Module, *, partial: bool = False) -> None:
        """Copy the tensors into `module`; PayloadError names what is missing, extra or misshapen.

        partial: the payload may hold a part of the module's tensors; the others stay as they are.
        """
        own = module.state_dict()
        names = self.tensors.keys() if partial else own.keys() | self.tensors.keys()
        misfits = [name for name in sorted(names) if _shape(own, name) != _shape(self.tensors, name)]
        if misfits:
            shown = [f"{name} ({_shape(self.tensors, name)} for {_shape(own, name)})" for name in misfits[:3]]
            raise PayloadError(f"this payload does not fit the model in {len(misfits)} tensors: {', '.join(shown)}")
        loaded = [name for name in own if name in self.tensors]
        if loaded:  # one call for all tensors is faster, and refuses to copy none
            torch._foreach_copy_([own[name] for name in loaded], [self.tensors[name] for name in loaded])

    def to_bytes(self) -> bytes:
        """The payload as a safetensors file, deterministic."""
        return pack(self.tensors, dict(self.meta))

    @classmethod
    def from_bytes(cls, blob: bytes | memoryview) -> "Payload":
        """The payload that `to_bytes` wrote; PayloadError on anything else."""
        return cls(*unpack(blob))


def _state(tensors: Tensors) -> dict[str, Tensor]:
    named = tensors.state_dict() if isinstance(tensors, nn.Module) else tensors
    return {name: value.detach() for name, value in named.items()}


def _shape(tensors: Mapping[str, Tensor], name: str) -> str:
    return "x".join(map(str, tensors[name].shape)) or "scalar" if name in tensors else "nothing"
