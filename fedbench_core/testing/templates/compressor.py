"""The compressor `example` for fedbench."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field

from fedbench_core.api import Compressor, Memory, Payload, RoundContext, hookimpl

api_version = 2
_ROUNDED = " rounded"


@dataclass(frozen=True)
class Example(Compressor):
    """Sends float32 as bfloat16: half the bytes, two significant digits."""

    # Fields are options: `fedbench run --compressor example --set compressor.smallest=100`.
    smallest: Annotated[int, Field(ge=0, description="tensors with fewer entries are sent as they are")] = 16

    def encode(self, payload: Payload, ctx: RoundContext, memory: Memory) -> Payload:
        """The payload to send. Its tensors may have any names that `decode` understands."""
        tensors = {}
        for name, tensor in payload.tensors.items():
            # Your idea goes here. What the sender keeps for the next round goes into `memory`.
            if tensor.dtype == torch.float32 and tensor.numel() >= self.smallest:
                tensors[name + _ROUNDED] = tensor.to(torch.bfloat16)
            else:
                tensors[name] = tensor
        return Payload(tensors, payload.meta)

    def decode(self, payload: Payload) -> Payload:
        """The payload that was encoded: its names, shapes, dtypes and meta."""
        tensors = {}
        for name, tensor in payload.tensors.items():
            rounded = name.endswith(_ROUNDED)
            tensors[name.removesuffix(_ROUNDED)] = tensor.float() if rounded else tensor
        return Payload(tensors, payload.meta)


@hookimpl
def fedbench_register_compressors() -> Mapping[str, type[Compressor]]:
    """The compressor, by name."""
    return {"example": Example}
