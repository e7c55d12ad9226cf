"""Compressors that each do one thing wrong: {name: (class, the case that shows it, a part of its message)}."""

import os
import random
import socket
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from time import time as clock

import numpy as np
import torch

from fedbench_core.api import Compressor, Payload, hookimpl
from fedbench_core.parts.compressors import Half

SEEN = {}


def changed(payload, change):
    return Payload({name: change(tensor) for name, tensor in payload.tensors.items()}, payload.meta)


def renamed(payload, change):
    return Payload({change(name): tensor for name, tensor in payload.tensors.items()}, payload.meta)


@dataclass(frozen=True)
class Sound(Compressor):
    def encode(self, payload, ctx, memory):
        return payload

    def decode(self, payload):
        return payload


class NoValue(Sound):
    def __eq__(self, other):
        return self is other

    __hash__ = None


class KeepsDtype(Sound):
    def encode(self, payload, ctx, memory):
        return changed(payload, lambda tensor: tensor.half() if tensor.is_floating_point() else tensor)


class KeepsNote(Sound):
    def encode(self, payload, ctx, memory):
        return Payload(payload.tensors, {**payload.meta, "note": "x"})


class Drops(Sound):
    def decode(self, payload):
        return Payload(dict(list(payload.tensors.items())[1:]), payload.meta)


class Renames(Sound):
    def decode(self, payload):
        return renamed(payload, str.upper)


class Flattens(Sound):
    def decode(self, payload):
        return changed(payload, torch.Tensor.flatten)


class DividesByZero(Sound):
    def encode(self, payload, ctx, memory):
        return changed(payload, lambda tensor: tensor / tensor.abs().max() if tensor.is_floating_point() else tensor)


class RankZero(Sound):
    """Keeps the singular values below a fraction of the energy: none, if the first has all of it."""

    def encode(self, payload, ctx, memory):
        return changed(payload, self._low_rank)

    def _low_rank(self, tensor):
        if tensor.dim() != 2 or tensor.dtype != torch.float32 or not tensor.numel():
            return tensor
        u, s, v = torch.linalg.svd(tensor, full_matrices=False)
        rank = int((s.square().cumsum(0) / s.square().sum() < 0.95).sum())
        return (u[:, :rank] * s[:rank]) @ v[:rank]


class CountZero(Sound):
    """Keeps a thousandth of the entries, rounded down."""

    def encode(self, payload, ctx, memory):
        return changed(payload, self._first)

    def _first(self, tensor):
        return tensor * (torch.arange(tensor.numel()) < tensor.numel() // 1000).view(tensor.shape)


class FlipsSigns(Sound):
    def decode(self, payload):
        return changed(payload, lambda tensor: -tensor if tensor.is_floating_point() else tensor)


class WritesToInput(Sound):
    def encode(self, payload, ctx, memory):
        return changed(payload, lambda tensor: tensor.mul_(2))


class TouchesInput(Sound):
    def encode(self, payload, ctx, memory):
        return changed(payload, lambda tensor: tensor.mul_(1))


class WritesToEncoded(Half):
    def decode(self, payload):
        return super().decode(changed(payload, lambda tensor: tensor.mul_(2)))


class Expands(Sound):
    def encode(self, payload, ctx, memory):
        copies = {f"{name} again": tensor for name, tensor in payload.tensors.items()}
        return Payload({**payload.tensors, **copies, "more": torch.zeros(200)}, payload.meta)

    def decode(self, payload):
        kept = {n: t for n, t in payload.tensors.items() if not n.endswith(" again") and n != "more"}
        return Payload(kept, payload.meta)


class Noted(Sound):
    """Sends a note, which decode removes."""

    def note(self, payload, ctx, memory):
        raise NotImplementedError

    def encode(self, payload, ctx, memory):
        return Payload(payload.tensors, {**payload.meta, "note": str(self.note(payload, ctx, memory))})

    def decode(self, payload):
        return Payload(payload.tensors, {key: word for key, word in payload.meta.items() if key != "note"})


class CountsInTheModule(Noted):
    def note(self, payload, ctx, memory):
        SEEN["count"] = SEEN.get("count", 0) + 1
        return SEEN["count"]


class RemembersTheSender(Noted):
    """Sends the difference to the last payload, whoever sent it."""

    def note(self, payload, ctx, memory):
        new = float(sum(tensor.double().sum() for tensor in payload.tensors.values()))
        known, SEEN["sum"] = SEEN.get("sum"), new
        return known is not None and ctx.round > 0 and round(new - known, 6)


class DecodesFromMemory(Sound):
    def encode(self, payload, ctx, memory):
        SEEN["payload"] = payload
        return Payload({})

    def decode(self, payload):
        return SEEN.get("payload", payload)


class MemoryByIdentity(Noted):
    """Counts on a tensor of its memory, where it is not saved."""

    def note(self, payload, ctx, memory):
        kept = memory.setdefault("residual", torch.zeros(1))
        kept.rounds = getattr(kept, "rounds", 0) + 1
        return kept.rounds


class MemoryOfLists(Sound):
    def encode(self, payload, ctx, memory):
        memory.setdefault("ranks", []).append(3)
        return payload


class DrawsFromTorch(Sound):
    def encode(self, payload, ctx, memory):
        return changed(payload, lambda tensor: tensor + torch.rand(1) if tensor.is_floating_point() else tensor)


class DrawsUnseeded(Noted):
    def note(self, payload, ctx, memory):
        return np.random.default_rng().random()


class SeedsPython(Sound):
    def encode(self, payload, ctx, memory):
        random.seed(0)
        return payload


class SeedsNumpy(Sound):
    def encode(self, payload, ctx, memory):
        np.random.seed(0)  # noqa: NPY002  # this is the fault
        return payload


class ReadsTheClock(Noted):
    def note(self, payload, ctx, memory):
        return time.time()


class ReadsTheWeek(Noted):
    """The same for a week."""

    def note(self, payload, ctx, memory):
        return int(time.time() // (7 * 86_400))


class HashesStrings(Noted):
    """The same within one process."""

    def note(self, payload, ctx, memory):
        return hash("".join(payload.tensors)) % 100


class NamesTheProcess(Noted):
    def note(self, payload, ctx, memory):
        return os.getpid()


class DoublePrecisionForAll(Sound):
    def encode(self, payload, ctx, memory):
        torch.set_default_dtype(torch.float64)
        return payload


class OldSignature(Sound):
    """Without a context."""

    def encode(self, payload, memory):
        return payload


@dataclass(frozen=True)
class NoDecode(Compressor):
    def encode(self, payload, ctx, memory):
        return payload


class Hangs(Sound):
    def decode(self, payload):
        while not payload.tensors:
            time.sleep(0.05)
        return payload


class ByTheImportedClock(Noted):
    """As above, by an imported name."""

    def note(self, payload, ctx, memory):
        return clock() // 86_400


class ByTheDate(Noted):
    def note(self, payload, ctx, memory):
        return datetime.now(UTC).month


class NamesTheMachine(Noted):
    def note(self, payload, ctx, memory):
        return f"{socket.gethostname()} {os.cpu_count()}"


class SetsThePrecision(Sound):
    def encode(self, payload, ctx, memory):
        torch.set_float32_matmul_precision("medium")
        return payload


class SetsTheEnvironment(Sound):
    def encode(self, payload, ctx, memory):
        os.environ["D_LEVEL"] = "9"
        return payload


class Swaps(Sound):
    """Swaps tensors of one shape."""

    def decode(self, payload):
        shapes = {}
        for name, tensor in payload.tensors.items():
            shapes.setdefault((tensor.dtype, tensor.shape), []).append(name)
        source = {to: name for names in shapes.values() for to, name in zip(names, names[::-1], strict=True)}
        return Payload({name: payload.tensors[source[name]] for name in payload.tensors}, payload.meta)


class CountsInBytes(Sound):
    """Sends integers as bytes."""

    def encode(self, payload, ctx, memory):
        return changed(payload, lambda tensor: tensor.to(torch.uint8) if tensor.dtype == torch.int64 else tensor)

    def decode(self, payload):
        return changed(payload, lambda tensor: tensor.long() if tensor.dtype == torch.uint8 else tensor)


class LeavesBiasesOut(Sound):
    def decode(self, payload):
        return changed(payload, lambda tensor: torch.zeros_like(tensor) if tensor.dim() == 1 else tensor)


DEFECTS = {
    "d-no-value": (NoValue, "is_a_value", "@dataclass"),
    "d-keeps-dtype": (KeepsDtype, "form_is_restored[a 3-long bias]", "record in meta what encode changed"),
    "d-keeps-note": (KeepsNote, "form_is_restored[a 3-long bias]", "remove what encode added"),
    "d-drops": (Drops, "form_is_restored[a 3-long bias]", "layer.weight is missing"),
    "d-renames": (Renames, "form_is_restored[a 3-long bias]", "layer.weight is missing"),
    "d-flattens": (Flattens, "form_is_restored[a 3-channel convolution]", "decode gave"),
    "d-divides-by-zero": (DividesByZero, "form_is_restored[all zeros]", "NaN"),
    "d-rank-zero": (RankZero, "large_tensors_arrive", "is a rank or a count 0?"),
    "d-count-zero": (CountZero, "large_tensors_arrive", "is a rank or a count 0?"),
    "d-flips-signs": (FlipsSigns, "large_tensors_arrive", "points away"),
    "d-writes-to-input": (WritesToInput, "input_is_untouched[a 3-long bias]", "encode changed its payload"),
    "d-touches-input": (
        TouchesInput,
        "input_is_untouched[a 3-long bias]",
        "encode wrote to its payload's tensors in place",
    ),
    "d-writes-to-encoded": (WritesToEncoded, "input_is_untouched[a 3-long bias]", "decode changed its payload"),
    "d-expands": (Expands, "never_much_larger_than_dense[a 3-long bias]", "send a tensor as it is"),
    "d-counts-in-the-module": (CountsInTheModule, "same_memory_same_bytes", "gave other bytes"),
    "d-remembers-the-sender": (RemembersTheSender, "state_is_only_in_memory", "another sender"),
    "d-decodes-from-memory": (DecodesFromMemory, "decode_needs_no_state", "everything it needs must be in the payload"),
    "d-memory-by-identity": (MemoryByIdentity, "memory_survives_saving", "saved and loaded"),
    "d-memory-of-lists": (MemoryOfLists, "memory_survives_saving", "is of type list"),
    "d-draws-from-torch": (DrawsFromTorch, "global_state_is_untouched", "global generator of torch"),
    "d-draws-unseeded": (DrawsUnseeded, "same_memory_same_bytes", "draw from ctx.rng"),
    "d-seeds-python": (SeedsPython, "global_state_is_untouched", "global generator of random"),
    "d-seeds-numpy": (SeedsNumpy, "global_state_is_untouched", "global generator of numpy.random"),
    "d-reads-the-clock": (ReadsTheClock, "depends_on_nothing_outside[clock]", "another clock"),
    "d-reads-the-week": (ReadsTheWeek, "depends_on_nothing_outside[clock]", "another clock"),
    "d-hashes-strings": (HashesStrings, "depends_on_nothing_outside[hash() of strings]", "another hash"),
    "d-names-the-process": (NamesTheProcess, "depends_on_nothing_outside[process id]", "another process id"),
    "d-double-precision": (DoublePrecisionForAll, "global_state_is_untouched", "default dtype"),
    "d-old-signature": (OldSignature, "loads", "does not take payload, ctx, memory"),
    "d-no-decode": (NoDecode, "loads", "defines no 'decode'"),
    "d-by-the-imported-clock": (ByTheImportedClock, "depends_on_nothing_outside[clock]", "another clock"),
    "d-by-the-date": (ByTheDate, "depends_on_nothing_outside[clock]", "another clock"),
    "d-names-the-machine": (NamesTheMachine, "depends_on_nothing_outside[machine]", "another machine"),
    "d-sets-the-precision": (SetsThePrecision, "global_state_is_untouched", "torch's precision of matrix products"),
    "d-sets-the-environment": (SetsTheEnvironment, "global_state_is_untouched", "the environment variable D_LEVEL"),
    "d-swaps": (Swaps, "tensors_of_one_shape_are_not_swapped", "two tensors are swapped"),
    "d-counts-in-bytes": (CountsInBytes, "form_is_restored[a 0-d integer]", "send them as they are"),
    "d-leaves-biases-out": (LeavesBiasesOut, "small_tensors_arrive_in_time", "send small tensors as they are"),
    "d-hangs": (Hangs, "form_is_restored[no tensors]", "no end after"),
}


@hookimpl
def fedbench_register_compressors():
    return {name: defect for name, (defect, _) in DEFECTS.items()}
