# (a faulty part has the signature of a sound one)
import random

import numpy as np
import pytest
import torch

from fedbench_core.api import Compressor, Payload
from fedbench_core.parts.compressors import Half
from fedbench_core.testing import CompressorContract


def changed(payload: Payload, change) -> Payload:
    return Payload({name: change(tensor) for name, tensor in payload.tensors.items()}, payload.meta)


class Undoes(Compressor):
    """A compressor that is fine unless a subclass says otherwise."""

    def encode(self, payload, ctx, memory):
        return payload

    def decode(self, payload):
        return payload

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    __hash__ = None


class KeepsDtype(Undoes):
    def encode(self, payload, ctx, memory):
        return changed(payload, torch.Tensor.half)


class KeepsNote(Undoes):
    def encode(self, payload, ctx, memory):
        return Payload(payload.tensors, {**payload.meta, "note": "x"})


class DividesByZero(Undoes):
    def encode(self, payload, ctx, memory):
        return changed(payload, lambda tensor: tensor / tensor.abs().max())


class WritesToInput(Undoes):
    def encode(self, payload, ctx, memory):
        return changed(payload, lambda tensor: tensor.mul_(2))


class TouchesInput(Undoes):
    def encode(self, payload, ctx, memory):
        return changed(payload, lambda tensor: tensor.mul_(1))


class WritesToEncoded(Half):
    def decode(self, payload):
        return changed(payload, lambda tensor: tensor.mul_(2))


class Inflates(Undoes):
    def encode(self, payload, ctx, memory):
        return Payload({**payload.tensors, "copy": torch.zeros(200)}, payload.meta)


class Counts(Undoes):
    """Keeps a counter in the part."""

    def __init__(self) -> None:
        self.count = 0

    def encode(self, payload, ctx, memory):
        self.count += 1
        return Payload(payload.tensors, {**payload.meta, "count": str(self.count)})


class Remembers(Undoes):
    """Keeps in the part what decode will need."""

    def encode(self, payload, ctx, memory):
        self.last = payload
        return Payload({})

    def decode(self, payload):
        return getattr(self, "last", payload)


class MemoryByIdentity(Undoes):
    """Keeps the rounds beside its memory's tensor, where no disk will find them."""

    def encode(self, payload, ctx, memory):
        kept = memory.setdefault("residual", torch.zeros(1))
        kept.extra = getattr(kept, "extra", 0) + 1
        return Payload(payload.tensors, {**payload.meta, "rounds": str(kept.extra)})


class MemoryOfLists(Undoes):
    def encode(self, payload, ctx, memory):
        memory.setdefault("ranks", []).append(3)
        return payload


class DrawsGlobally(Undoes):
    def encode(self, payload, ctx, memory):
        return changed(payload, lambda tensor: tensor + torch.rand(1))


class SeedsPython(Undoes):
    def encode(self, payload, ctx, memory):
        random.seed(0)
        return payload


class SeedsNumpy(Undoes):
    def encode(self, payload, ctx, memory):
        np.random.seed(0)  # noqa: NPY002  # this is the fault
        return payload


@pytest.mark.parametrize(
    ("faulty", "case", "arguments", "says"),
    [
        (KeepsDtype, "test_form_comes_back", ["a 3-long bias"], "note in meta what encode changed"),
        (KeepsNote, "test_form_comes_back", ["a 3-long bias"], "take out what encode added"),
        (DividesByZero, "test_form_comes_back", ["all zeros"], "NaN or infinity"),
        (WritesToInput, "test_input_is_untouched", ["a 3-long bias"], "encode changed its payload"),
        (TouchesInput, "test_input_is_untouched", ["a 3-long bias"], "encode wrote to its payload"),
        (WritesToEncoded, "test_input_is_untouched", ["a 3-long bias"], "decode changed what it was given"),
        (Inflates, "test_never_much_larger_than_dense", ["a 3-long bias"], "send a tensor as it is"),
        (Counts, "test_same_memory_same_bytes", [], "gave other bytes"),
        (Counts, "test_state_is_only_in_memory", [], "another sender changed"),
        (Counts, "test_memory_survives_the_disk", [], "other bytes after"),
        (MemoryByIdentity, "test_memory_survives_the_disk", [], "other bytes after"),
        (MemoryOfLists, "test_memory_survives_the_disk", [], r"memory\['ranks'\] is of type list"),
        (Remembers, "test_decode_needs_no_state", [], "all it needs must be in the payload"),
        (DrawsGlobally, "test_global_randomness_is_untouched", [], "global generator of torch"),
        (SeedsPython, "test_global_randomness_is_untouched", [], "global generator of random"),
        (SeedsNumpy, "test_global_randomness_is_untouched", [], "global generator of numpy.random"),
    ],
)
def test_compressor_faults(assert_caught, faulty, case, arguments, says) -> None:
    assert_caught(CompressorContract, faulty, case, *arguments, says=says)
