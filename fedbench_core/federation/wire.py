"""What happens to a payload between two places. Bytes are counted on the blob that is sent and then decoded."""

from dataclasses import dataclass

import torch

from fedbench_core.api import Compressor, Memory, Payload, RoundContext, RunError
from fedbench_core.federation.calls import Blob


@dataclass(frozen=True)
class Sent:
    """A blob on its way, and the length it would have had uncompressed."""

    blob: bytes
    bytes_dense: int


def encode(compressor: Compressor, payload: Payload, ctx: RoundContext, memory: Memory) -> Sent:
    """Compress and serialise; `memory` is the sender's."""
    encoded = compressor.encode(payload, ctx, memory)
    blob = encoded.to_bytes()
    return Sent(blob, len(blob) if encoded is payload else len(payload.to_bytes()))


def decode(compressor: Compressor, blob: Blob) -> Payload:
    """Deserialise and decompress: what the receiver works on."""
    return compressor.decode(Payload.from_bytes(blob))


def check_finite(payload: Payload) -> None:
    """RunError that names the first tensor with NaN or infinity."""
    for name, tensor in payload.tensors.items():
        if not tensor.is_floating_point() or tensor.sum().isfinite():  # a sum is 40 times faster, and may overflow
            continue
        if not torch.isfinite(tensor).all():
            bad = "NaN" if torch.isnan(tensor).any() else "infinity"
            raise RunError(
                f"tensor {name!r} of its update holds {bad}. Try a smaller --lr, or --optimizer adam --lr 0.001."
            )
