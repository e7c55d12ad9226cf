"""What happens to a payload between two nodes. Bytes are counted on the blob that is sent and then decoded."""

import math

import torch

from fedbench_core.api import NOTED, Compressor, Memory, Payload, RoundContext, RunError
from fedbench_core.federation.blame import MisfitError, expect
from fedbench_core.federation.calls import Encoded, Form
from fedbench_core.federation.files import Blob
from fedbench_core.federation.node_state import check_memory
from fedbench_core.federation.resolved import ResolvedRun


def send(run: ResolvedRun, part: str, payload: Payload, ctx: RoundContext, memory: Memory) -> Encoded:
    """`encode` by the run's "compressor" or "downlink"; errors name that part."""
    with run.blaming(part):
        sent = encode(getattr(run, part), payload, ctx, memory)
        check_memory(memory)
    return sent


def receive(run: ResolvedRun, part: str, blob: Blob, form: Form | None = None) -> Payload:
    """`decode` by the run's "compressor" or "downlink"; errors name that part."""
    with run.blaming(part):
        return decode(getattr(run, part), blob, form)


def encode(compressor: Compressor, payload: Payload, ctx: RoundContext, memory: Memory) -> Encoded:
    """Compress and serialize; `memory` is the sender's."""
    encoded = compressor.encode(payload, ctx, memory)
    expect(encoded, Payload, "what encode returned")
    blob = encoded.to_bytes()
    if encoded is payload:
        return Encoded(blob, len(blob))
    notes = (encoded.meta[NOTED],) if NOTED in encoded.meta else ()
    return Encoded(blob, len(payload.to_bytes()), form_of(payload), notes)


def decode(compressor: Compressor, blob: Blob, form: Form | None = None) -> Payload:
    """Deserialize and decompress.

    MisfitError where the result has another `form` than the payload that was sent, or (if a form is given) holds NaN
    or infinity.
    """
    payload = compressor.decode(Payload.from_bytes(blob))
    expect(payload, Payload, "what decode returned")
    if form is not None:
        _check_form(form, form_of(payload))
        check_finite(payload, "what it decoded")
    return payload


def form_of(payload: Payload) -> Form:
    """The dtype and shape of each tensor as text, by name."""
    return {name: f"{tensor.dtype} {tuple(tensor.shape)}" for name, tensor in payload.tensors.items()}


def _check_form(sent: Form, got: Form) -> None:
    if sent != got:
        name = min(name for name in sent.keys() | got.keys() if sent.get(name) != got.get(name))
        raise MisfitError(
            f"{name!r} was {sent.get(name, 'missing')} before it was encoded, and is {got.get(name, 'missing')} "
            "after it was decoded; decode must restore names, shapes and dtypes"
        )


def check_finite(payload: Payload, whose: str, hint: str = "") -> None:
    """RunError that names the first tensor with NaN or infinity."""
    for name, tensor in payload.tensors.items():
        if not tensor.is_floating_point() or math.isfinite(tensor.sum().item()):
            continue  # a sum is 40 times as fast as a look at every number, and may overflow
        if not torch.isfinite(tensor).all():
            bad = "NaN" if torch.isnan(tensor).any() else "infinity"
            raise RunError(f"tensor {name!r} of {whose} holds {bad}.{hint and ' '}{hint}")
