"""What every compressor keeps to."""

import pytest
import torch
from torch import Tensor

from fedbench_core.api import Compressor, Memory, Payload
from fedbench_core.testing.contract import PartContract, Trace, global_state_untouched, same
from fedbench_core.testing.examples import from_disk, layout, moment, normal, payloads, versions

ROUNDS = 3
SLACK = 512
"""How many bytes more than the dense payload a blob may have, for notes in its header."""

MANY_ROUNDS = 500
LARGE = 100
"""Entries that a tensor must have for something of it to arrive in a few rounds."""

each_payload = pytest.mark.parametrize("case", payloads())


def _said(number: int, seed: int = 0) -> Payload:
    """What a sender says in round `number`: the same tensors every round, with other values."""
    tensors = {
        "conv.weight": normal(8, 3, 3, 3, seed=seed + number),
        "fc.weight": normal(40, 2, seed=seed + number) @ normal(2, 30, seed=seed + number),
        "fc.bias": normal(3, seed=seed + number),
    }
    return Payload(tensors, {"backbone": "resnet18"})


def _blobs(part: Compressor, memory: Memory, rounds: range, seed: int = 0) -> list[bytes]:
    return [part.encode(_said(number, seed), moment(number, ROUNDS), memory).to_bytes() for number in rounds]


def _is_large(tensor: Tensor) -> bool:
    """Whether every compressor must bring something of it in a few rounds."""
    return tensor.is_floating_point() and tensor.numel() >= LARGE and bool(tensor.any())


class CompressorContract(PartContract[Compressor]):
    """What is encoded comes back in form, is never larger than dense, and depends on payload, context and memory."""

    kind = "compressor"

    @pytest.fixture
    def trace(self, part: Compressor) -> Trace:
        """What one sender sends in some rounds."""
        return lambda: _blobs(part, {}, range(ROUNDS))

    @each_payload
    def test_form_comes_back(self, part: Compressor, case: str) -> None:
        """Names, shapes, dtypes and meta survive the wire, in the first round and in the last; finite stays finite."""
        payload, memory = payloads()[case], Memory()
        for number in range(ROUNDS):
            blob = part.encode(payload, moment(number, ROUNDS), memory).to_bytes()
            back = part.decode(Payload.from_bytes(blob))
            got, expected = layout(back), layout(payload)
            lost, new = expected.keys() - got.keys(), got.keys() - expected.keys()
            assert not lost, f"tensor {', '.join(lost)} was lost on the way{' and ' * bool(new)}{', '.join(new)} came"
            assert got == expected, f"decode gave {got} for a payload of {expected}: note in meta what encode changed"
            assert dict(back.meta) == dict(payload.meta), (
                f"decode gave the metadata {dict(back.meta)} for {dict(payload.meta)}: take out what encode added"
            )
            bad = [name for name, tensor in back.tensors.items() if not tensor.isfinite().all()]
            assert not bad, f"{bad} came back with NaN or infinity from finite values"
            counts = {name: tensor for name, tensor in payload.tensors.items() if not tensor.is_floating_point()}
            off = [name for name, tensor in counts.items() if not torch.equal(back.tensors[name], tensor)]
            assert not off, f"the integers or truth values of {off} changed: they count or point, send them as they are"

    def test_something_of_it_arrives(self, part: Compressor) -> None:
        """What is said in several rounds arrives in part: the values of a large tensor point where they pointed."""
        for case, payload in payloads().items():
            for name in [name for name, tensor in payload.tensors.items() if _is_large(tensor)][:1]:
                said, memory = payload.tensors[name].double(), Memory()
                product = 0.0
                for number in range(ROUNDS):
                    back = part.decode(part.encode(payload, moment(number, ROUNDS), memory))
                    product += float((back.tensors[name].double() * said).sum())
                assert product != 0, f"nothing of {case} arrives in {ROUNDS} rounds: a rank or a count that reached 0?"
                assert product > 0, f"what arrives of {case} points away from what was said: a sign, a wrong order?"

    def test_tensors_of_one_shape_are_told_apart(self, part: Compressor) -> None:
        """What arrives under a name is of what was said under it, not of its neighbor of the same shape."""
        said = {name: normal(30, 40, seed=seed) for seed, name in enumerate(("b.weight", "a.weight", "c.weight"))}
        memory, arrived = Memory(), {name: torch.zeros_like(tensor) for name, tensor in said.items()}
        for number in range(ROUNDS):
            encoded = part.encode(Payload(said), moment(number, ROUNDS), memory)
            back = part.decode(Payload.from_bytes(encoded.to_bytes()))
            arrived = {name: tensor + back.tensors[name] for name, tensor in arrived.items()}
        for name, tensor in arrived.items():
            likest = max(said, key=lambda other: float((tensor * said[other]).sum()))
            assert likest == name, f"what arrives as {name!r} is what was said as {likest!r}: they changed places"

    def test_little_ones_arrive_in_time(self, part: Compressor) -> None:
        """Of three entries something has arrived after hundreds of rounds: a bias that never does is never trained."""
        payload, memory = Payload({"fc.bias": normal(3)}), Memory()
        for number in range(MANY_ROUNDS):
            back = part.decode(part.encode(payload, moment(number, MANY_ROUNDS), memory))
            if back.tensors["fc.bias"].any():
                return
        pytest.fail(f"nothing of a 3-long bias arrives in {MANY_ROUNDS} rounds: send what is small as it is")

    @each_payload
    def test_input_is_untouched(self, part: Compressor, case: str) -> None:
        """Neither encode nor decode writes to the tensors it is given."""
        payload = payloads()[case]
        before, old = payload.to_bytes(), versions(payload)
        encoded = part.encode(payload, moment(), Memory())
        assert same(payload.to_bytes(), before), "encode changed its payload: work on a clone"
        assert versions(payload) == old, "encode wrote to its payload's tensors in place: work on a clone"
        sent = encoded.to_bytes()
        part.decode(encoded)
        assert same(encoded.to_bytes(), sent), (
            "decode changed what it was given, which others will read: work on a clone"
        )

    @each_payload
    def test_never_much_larger_than_dense(self, part: Compressor, case: str) -> None:
        """A blob has at most 512 bytes more than the payload sent as it is."""
        payload, memory = payloads()[case], Memory()
        dense = len(payload.to_bytes())
        for number in range(ROUNDS):
            blob = len(part.encode(payload, moment(number, ROUNDS), memory).to_bytes())
            assert blob <= dense + SLACK, (
                f"{blob} bytes for a payload of {dense} in round {number}: send a tensor as it is where that is smaller"
            )

    def test_same_memory_same_bytes(self, part: Compressor) -> None:
        """Equal payloads, contexts and memories give equal blobs, from any instance of the part."""
        first = _blobs(part, {}, range(ROUNDS))
        for again in (part, self.make()):
            assert same(_blobs(again, {}, range(ROUNDS)), first), (
                "equal payloads, contexts and memory gave other bytes: draw from ctx.rng(...), keep nothing here"
            )

    def test_state_is_only_in_memory(self, part: Compressor) -> None:
        """Two senders that take turns at one part send what each would have sent alone."""
        alone = _blobs(part, {}, range(ROUNDS))
        mine: Memory = {}
        other: Memory = {}
        in_turns = []
        for number in range(ROUNDS):
            in_turns += _blobs(part, mine, range(number, number + 1))
            _blobs(part, other, range(number, number + 1), seed=100)
        assert same(in_turns, alone), "another sender changed this one's bytes: keep state in `memory`, not in the part"

    def test_memory_survives_the_disk(self, part: Compressor) -> None:
        """A memory that was saved and loaded gives the same continuation."""
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
        """A part that has encoded nothing decodes the same, as often as asked."""
        memory: Memory = {}
        messages = []
        for number in range(ROUNDS):
            encoded = part.encode(_said(number), moment(number, ROUNDS), memory)
            messages.append((encoded, part.decode(encoded).to_bytes()))
        for reader in (part, self.make()):
            for encoded, first in messages:
                assert same(reader.decode(encoded).to_bytes(), first), (
                    "decode gave other values the second time: all it needs must be in the payload"
                )

    def test_global_state_is_untouched(self, part: Compressor) -> None:
        """No global generator is read or seeded, no setting that others share is changed."""
        with global_state_untouched(f"{self.name}.encode and decode"):
            part.decode(part.encode(_said(0), moment(), {}))
