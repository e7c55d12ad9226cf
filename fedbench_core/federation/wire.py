"""What happens to a payload between two places. Bytes are counted on the blob that is sent and then decoded."""

from dataclasses import dataclass

import torch

from fedbench_core.api import NOTED, Compressor, Memory, Payload, RoundContext, RunError
from fedbench_core.federation.blame import MisfitError, expect
from fedbench_core.federation.calls import Blob, Form
from fedbench_core.federation.node_state import check_memory
from fedbench_core.federation.resolved import ResolvedRun


@dataclass(frozen=True)
class Sent:
    """A blob on its way, the length it would have had uncompressed, and what its receiver is to decode.

    notes: what the compressor says of it.
    """

    blob: bytes
    bytes_dense: int
    form: Form | None
    notes: tuple[str, ...] = ()


def send(setting: ResolvedRun, way: str, payload: Payload, ctx: RoundContext, memory: Memory) -> Sent:
    """`encode` by the run's "compressor" or "downlink", which is blamed for what goes wrong."""
    with setting.blaming(way):
        sent = encode(getattr(setting, way), payload, ctx, memory)
        check_memory(memory)
    return sent


def receive(setting: ResolvedRun, way: str, blob: Blob, form: Form | None = None) -> Payload:
    """`decode` by the run's "compressor" or "downlink", which is blamed for what goes wrong."""
    with setting.blaming(way):
        return decode(getattr(setting, way), blob, form)


def encode(compressor: Compressor, payload: Payload, ctx: RoundContext, memory: Memory) -> Sent:
    """Compress and serialize; `memory` is the sender's."""
    encoded = compressor.encode(payload, ctx, memory)
    expect(encoded, Payload, "what encode gave")
    blob = encoded.to_bytes()
    if encoded is payload:
        return Sent(blob, len(blob), None)
    notes = (encoded.meta[NOTED],) if NOTED in encoded.meta else ()
    return Sent(blob, len(payload.to_bytes()), form_of(payload), notes)


def decode(compressor: Compressor, blob: Blob, form: Form | None = None) -> Payload:
    """Deserialize and decompress: what the receiver works on.

    MisfitError where that has not the `form` of what was sent, or (if there is one) holds NaN or infinity.
    """
    payload = compressor.decode(Payload.from_bytes(blob))
    expect(payload, Payload, "what decode gave")
    if form is not None:
        _check_form(form, form_of(payload))
        check_finite(payload, "what it decoded")
    return payload


def form_of(payload: Payload) -> Form:
    """The dtype and shape of each tensor in a word, by name."""
    return {name: f"{tensor.dtype} {tuple(tensor.shape)}" for name, tensor in payload.tensors.items()}


def _check_form(sent: Form, got: Form) -> None:
    if sent != got:
        name = min(name for name in sent.keys() | got.keys() if sent.get(name) != got.get(name))
        raise MisfitError(
            f"{name!r} was {sent.get(name, 'not there')} before it was encoded, and is {got.get(name, 'not there')} "
            "decoded: decode gives names, shapes and dtypes back"
        )


def check_finite(payload: Payload, whose: str, hint: str = "") -> None:
    """RunError that names the first tensor with NaN or infinity."""
    for name, tensor in payload.tensors.items():
        if not tensor.is_floating_point() or tensor.sum().isfinite():  # a sum is 40 times faster, and may overflow
            continue
        if not torch.isfinite(tensor).all():
            bad = "NaN" if torch.isnan(tensor).any() else "infinity"
            raise RunError(f"tensor {name!r} of {whose} holds {bad}.{hint and ' '}{hint}")
