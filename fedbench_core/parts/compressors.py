"""Compressors that work on any payload."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from fedbench_core.api import Compressor, Memory, Payload, RoundContext, RunError

_KEY = "half"
_CODES = {torch.float16: "h", torch.float32: "s", torch.float64: "d"}
_DTYPES = {message: dtype for dtype, message in _CODES.items()}


@dataclass(frozen=True)
class Dense(Compressor):
    """Tensors are sent unchanged."""

    def encode(self, payload: Payload, ctx: RoundContext, memory: Memory) -> Payload:
        """The payload itself."""
        return payload

    def decode(self, payload: Payload) -> Payload:
        """The payload itself."""
        return payload


@dataclass(frozen=True)
class Half(Compressor):
    """Single and double precision are sent as float16: half the bytes, three significant digits, nothing above 65504.

    The receiver gets the rounded values in their own dtype. All other tensors are sent unchanged. The original dtypes
    are in the meta entry "half", as run lengths over the float16 tensors in order of name: 62 singles are "62s".
    """

    def encode(self, payload: Payload, ctx: RoundContext, memory: Memory) -> Payload:
        """The payload with rounded tensors; RunError names a tensor with finite values beyond float16's range."""
        if _KEY in payload.meta:
            raise RunError(f"half uses the meta entry {_KEY!r}, which this payload has already. Rename it there.")
        tensors = {name: _rounded(name, tensor) for name, tensor in payload.tensors.items()}
        marks = [_CODES[payload.tensors[name].dtype] for name in sorted(tensors) if _is_half(tensors[name])]
        if set(marks) <= {"h"}:
            return payload
        return Payload(tensors, {**payload.meta, _KEY: _runs(marks)})

    def decode(self, payload: Payload) -> Payload:
        """The rounded values in their original dtypes."""
        if _KEY not in payload.meta:
            return payload
        marks = (mark for count, mark in re.findall(r"(\d*)(\w)", payload.meta[_KEY]) for _ in range(int(count or 1)))
        tensors = dict(payload.tensors)
        for name in sorted(tensors):
            if _is_half(tensors[name]):
                tensors[name] = tensors[name].to(_DTYPES[next(marks)])
        return Payload(tensors, {key: value for key, value in payload.meta.items() if key != _KEY})


COMPRESSORS = {"dense": Dense, "half": Half}


def _is_half(tensor: Tensor) -> bool:
    return tensor.dtype == torch.float16


def _rounded(name: str, tensor: Tensor) -> Tensor:
    if tensor.dtype not in {torch.float32, torch.float64}:
        return tensor
    half = tensor.to(torch.float16)
    if not half.isfinite().all() and (half.isinf() & tensor.isfinite()).any():
        largest = tensor[tensor.isfinite()].abs().max().item()
        raise RunError(
            f"The tensor {name!r} holds {largest:g}, and float16 ends at 65504, so the compressor 'half' cannot carry "
            "it. Use --compressor dense, or look for a training that diverges (lower --lr)."
        )
    return half


def _runs(marks: Iterable[str]) -> str:
    """Run lengths, with lengths of one left out: ["s", "s", "h"] is "2sh"."""
    lengths = [(mark, len(list(run))) for mark, run in groupby(marks)]
    return "".join(f"{length if length > 1 else ''}{mark}" for mark, length in lengths)
