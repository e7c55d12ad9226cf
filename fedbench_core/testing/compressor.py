"""The contract of compressors."""

import pytest
import torch
from torch import Tensor

from fedbench_core.api import Compressor, Memory, Payload
from fedbench_core.testing.contract import PartContract, Trace, global_state_untouched, same
from fedbench_core.testing.examples import from_disk, layout, moment, normal, payloads, versions

ROUNDS = 3
SLACK = 512
"""Bytes that a blob may have more than the uncompressed payload, for entries in its header."""

MANY_ROUNDS = 500
LARGE = 100
"""A tensor with so many entries must not be zero after a few rounds."""

each_payload = pytest.mark.parametrize("case", payloads())


def _payload(number: int, seed: int = 0) -> Payload:
    """What a sender sends in round `number`: the same names and shapes every round, with other values."""
    tensors = {
        "conv.weight": normal(8, 3, 3, 3, seed=seed + number),
        "fc.weight": normal(40, 2, seed=seed + number) @ normal(2, 30, seed=seed + number),
        "fc.bias": normal(3, seed=seed + number),
    }
    return Payload(tensors, {"backbone": "resnet18"})


def _blobs(part: Compressor, memory: Memory, rounds: range, seed: int = 0) -> list[bytes]:
    return [part.encode(_payload(number, seed), moment(number, ROUNDS), memory).to_bytes() for number in rounds]


def _is_large(tensor: Tensor) -> bool:
    """Whether some of it must arrive within a few rounds."""
    return tensor.is_floating_point() and tensor.numel() >= LARGE and bool(tensor.any())


class CompressorContract(PartContract[Compressor]):
    """Decoding restores the form, blobs are never much larger than dense, and all state is in the memory."""

    kind = "compressor"

    @pytest.fixture
    def trace(self, part: Compressor) -> Trace:
        """What one sender sends in several rounds."""
        return lambda: _blobs(part, {}, range(ROUNDS))

    @each_payload
    def test_form_is_restored(self, part: Compressor, case: str) -> None:
        """Decoding restores names, shapes, dtypes and meta in every round, and finite values stay finite."""
        payload, memory = payloads()[case], Memory()
        for number in range(ROUNDS):
            blob = part.encode(payload, moment(number, ROUNDS), memory).to_bytes()
            back = part.decode(Payload.from_bytes(blob))
            got, expected = layout(back), layout(payload)
            lost, new = expected.keys() - got.keys(), got.keys() - expected.keys()
            assert not lost, (
                f"tensor {', '.join(lost)} is missing after decode{', which gave ' * bool(new)}{', '.join(new)}"
            )
            assert got == expected, f"decode gave {got} for a payload of {expected}: record in meta what encode changed"
            assert dict(back.meta) == dict(payload.meta), (
                f"decode gave the metadata {dict(back.meta)} for {dict(payload.meta)}: remove what encode added"
            )
            bad = [name for name, tensor in back.tensors.items() if not tensor.isfinite().all()]
            assert not bad, f"{bad} hold NaN or infinity after decode, but were finite"
            counts = {name: tensor for name, tensor in payload.tensors.items() if not tensor.is_floating_point()}
            off = [name for name, tensor in counts.items() if not torch.equal(back.tensors[name], tensor)]
            assert not off, (
                f"the integers or booleans of {off} changed: they are counts or indices, send them as they are"
            )

    def test_large_tensors_arrive(self, part: Compressor) -> None:
        """Of a large tensor that is sent in several rounds some part arrives, with the right sign."""
        for case, payload in payloads().items():
            for name in [name for name, tensor in payload.tensors.items() if _is_large(tensor)][:1]:
                sent, memory = payload.tensors[name].double(), Memory()
                product = 0.0
                for number in range(ROUNDS):
                    back = part.decode(part.encode(payload, moment(number, ROUNDS), memory))
                    product += float((back.tensors[name].double() * sent).sum())
                assert product != 0, f"nothing of {case} arrives in {ROUNDS} rounds: is a rank or a count 0?"
                assert product > 0, f"what arrives of {case} points away from what was sent: a sign, or a wrong order?"

    def test_tensors_of_one_shape_are_not_swapped(self, part: Compressor) -> None:
        """A tensor arrives under its own name, not under that of another tensor of the same shape."""
        sent = {name: normal(30, 40, seed=seed) for seed, name in enumerate(("b.weight", "a.weight", "c.weight"))}
        memory, arrived = Memory(), {name: torch.zeros_like(tensor) for name, tensor in sent.items()}
        for number in range(ROUNDS):
            encoded = part.encode(Payload(sent), moment(number, ROUNDS), memory)
            back = part.decode(Payload.from_bytes(encoded.to_bytes()))
            arrived = {name: tensor + back.tensors[name] for name, tensor in arrived.items()}
        for name, tensor in arrived.items():
            closest = max(sent, key=lambda other: float((tensor * sent[other]).sum()))
            assert closest == name, f"what arrives as {name!r} was sent as {closest!r}: two tensors are swapped"

    def test_small_tensors_arrive_in_time(self, part: Compressor) -> None:
        """Of a tensor with three entries some part arrives within hundreds of rounds, or a bias is never trained."""
        payload, memory = Payload({"fc.bias": normal(3)}), Memory()
        for number in range(MANY_ROUNDS):
            back = part.decode(part.encode(payload, moment(number, MANY_ROUNDS), memory))
            if back.tensors["fc.bias"].any():
                return
        pytest.fail(f"nothing of a bias with 3 entries arrives in {MANY_ROUNDS} rounds: send small tensors as they are")

    @each_payload
    def test_input_is_untouched(self, part: Compressor, case: str) -> None:
        """Neither encode nor decode changes the tensors it is given."""
        payload = payloads()[case]
        before, old = payload.to_bytes(), versions(payload)
        encoded = part.encode(payload, moment(), Memory())
        assert same(payload.to_bytes(), before), "encode changed its payload: work on a clone"
        assert versions(payload) == old, "encode wrote to its payload's tensors in place: work on a clone"
        sent = encoded.to_bytes()
        part.decode(encoded)
        assert same(encoded.to_bytes(), sent), "decode changed its payload, which others will read: work on a clone"

    @each_payload
    def test_never_much_larger_than_dense(self, part: Compressor, case: str) -> None:
        """A blob has at most 512 bytes more than the uncompressed payload."""
        payload, memory = payloads()[case], Memory()
        dense = len(payload.to_bytes())
        for number in range(ROUNDS):
            blob = len(part.encode(payload, moment(number, ROUNDS), memory).to_bytes())
            assert blob <= dense + SLACK, (
                f"{blob} bytes for a payload of {dense} in round {number}: send a tensor as it is if that is smaller"
            )

    def test_same_memory_same_bytes(self, part: Compressor) -> None:
        """Equal payloads, contexts and memories give equal blobs, from any instance of the part."""
        first = _blobs(part, {}, range(ROUNDS))
        for again in (part, self.make()):
            assert same(_blobs(again, {}, range(ROUNDS)), first), (
                "equal payloads, contexts and memory gave other bytes: draw from ctx.rng(...), keep nothing in the part"
            )

    def test_state_is_only_in_memory(self, part: Compressor) -> None:
        """Two senders that use one part in turn send what each would have sent alone."""
        alone = _blobs(part, {}, range(ROUNDS))
        mine: Memory = {}
        other: Memory = {}
        in_turns = []
        for number in range(ROUNDS):
            in_turns += _blobs(part, mine, range(number, number + 1))
            _blobs(part, other, range(number, number + 1), seed=100)
        assert same(in_turns, alone), "another sender changed this one's bytes: keep state in `memory`, not in the part"

    def test_memory_survives_saving(self, part: Compressor) -> None:
        """With a memory that was saved and loaded, the next blobs have the same bytes."""
        kept: Memory = {}
        straight = _blobs(part, kept, range(ROUNDS))
        memory: Memory = {}
        resumed = []
        for number in range(ROUNDS):
            resumed += _blobs(part, memory, range(number, number + 1))
            memory = from_disk(memory)
        assert same(resumed, straight), (
            "other bytes after `memory` was saved and loaded: keep all state in it, by value"
        )

    def test_decode_needs_no_state(self, part: Compressor) -> None:
        """A part that has encoded nothing decodes the same values, any number of times."""
        memory: Memory = {}
        messages = []
        for number in range(ROUNDS):
            encoded = part.encode(_payload(number), moment(number, ROUNDS), memory)
            messages.append((encoded, part.decode(encoded).to_bytes()))
        for reader in (part, self.make()):
            for encoded, first in messages:
                assert same(reader.decode(encoded).to_bytes(), first), (
                    "decode gave other values the second time: everything it needs must be in the payload"
                )

    def test_global_state_is_untouched(self, part: Compressor) -> None:
        """No global generator is read or seeded, no shared setting is changed."""
        with global_state_untouched(f"{self.name}.encode and decode"):
            part.decode(part.encode(_payload(0), moment(), {}))
