"""What every aggregator keeps to."""

import gc
import re
import weakref
from collections.abc import Iterable

import numpy as np
import pytest
import torch

from fedbench_core.api import Aggregator, Memory, Message, Payload, RunError
from fedbench_core.testing.contract import PartContract, Trace, global_state_untouched, same
from fedbench_core.testing.examples import from_disk, layout, moment, normal, versions

SENDERS = (2, 11, 37, 41, 58)
ROUNDS = 3
TOLERANCE = 1e-6


def _payload(seed: int, **meta: str) -> Payload:
    tensors = {
        "conv.weight": normal(4, 3, 3, 3, seed=seed),
        "fc.bias": normal(3, seed=seed),
        "fc.scale": normal(3, seed=seed + 1000),
        "scale": torch.tensor(0.1 + seed),
        "half": normal(5, seed=seed).half(),
        "batches": torch.tensor(10 + seed),
    }
    return Payload(tensors, meta)


def _messages(part: Aggregator, seed: int = 0) -> list[Message]:
    """Messages with different values and weights; one for an aggregator that takes one."""
    senders = SENDERS if part.takes == "many" else SENDERS[:1]
    return [Message(sender, _payload(sender + seed, round=str(seed)), 3.0 + 7 * sender) for sender in senders]


def _merged(part: Aggregator, messages: Iterable[Message], memory: Memory | None = None, number: int = 0) -> Payload:
    merge = part.open(moment(number, ROUNDS), {} if memory is None else memory, None)
    for message in messages:
        merge.add(message)
    return merge.close()


def _assert_close(got: Payload, expected: Payload, why: str) -> None:
    assert set(got.tensors) == set(expected.tensors), f"other tensors {why}"
    for name, tensor in expected.tensors.items():
        # half precision has no more than three digits: a last bit of its own may differ
        limit = 1e-3 if tensor.dtype == torch.float16 else TOLERANCE
        off = (got.tensors[name].double() - tensor.double()).abs().max().item()
        scale = max(1.0, tensor.double().abs().max().item())
        assert off <= limit * scale, f"{name!r} differs by {off:g} {why}: add up in float64"


def _assert_names_both(part: Aggregator, first: Message, second: Message, what: str) -> None:
    with pytest.raises(RunError) as caught:
        _merged(part, [first, second])
    for sender in (first.sender, second.sender):
        assert re.search(rf"\b{sender}\b", str(caught.value)), (
            f"the error about {what} does not name client {sender}: {caught.value}"
        )


class AggregatorContract(PartContract[Aggregator]):
    """A streaming fold: repeatable, fair to order and scale, exact on equals, its state in the place's memory."""

    kind = "aggregator"

    @pytest.fixture
    def trace(self, part: Aggregator) -> Trace:
        """What comes of some messages."""
        return lambda: _merged(part, _messages(part)).to_bytes()

    def test_same_messages_same_bits(self, part: Aggregator) -> None:
        """Messages in order of sender give the same bits every time, from any instance of the part."""
        first = _merged(part, _messages(part)).to_bytes()
        for again in (part, self.make()):
            assert same(_merged(again, _messages(part)).to_bytes(), first), (
                "the same messages and memory gave other bits: keep state in `memory`, draw from ctx.rng(...)"
            )

    def test_order_hardly_matters(self, part: Aggregator) -> None:
        """Messages in any other order give the same to 1e-6."""
        messages = _many(part)
        expected = _merged(part, messages)
        for order in (messages[::-1], messages[2:] + messages[:2]):
            _assert_close(_merged(part, order), expected, "when the messages come in another order")

    @pytest.mark.parametrize("factor", [0.001, 0.5, 1e6])
    def test_scale_of_weights_is_irrelevant(self, part: Aggregator, factor: float) -> None:
        """All weights times a factor give the same."""
        messages = _messages(part)
        scaled = [Message(message.sender, message.payload, message.weight * factor) for message in messages]
        _assert_close(_merged(part, scaled), _merged(part, messages), f"when all weights are {factor:g} times as large")

    def test_equal_payloads_give_that_payload(self, part: Aggregator) -> None:
        """Nothing is lost where there is nothing to merge, to the bit; shared metadata stays."""
        payload = _payload(1, backbone="resnet18")
        messages = [Message(message.sender, payload, message.weight) for message in _messages(part)]
        merged = _merged(part, messages)
        assert layout(merged) == layout(payload), (
            f"{layout(merged)} came of messages that all hold {layout(payload)}: return every tensor in its own form"
        )
        assert dict(merged.meta) == dict(payload.meta), (
            f"metadata {dict(merged.meta)} from messages that all say {dict(payload.meta)}: keep what all share"
        )
        assert same(merged.to_bytes(), payload.to_bytes()), (
            f"{len(messages)} equal payloads gave another one: merge in float64 and return each tensor in its own dtype "
            "and under its own name"
        )

    @pytest.mark.parametrize("count", [1, 2])
    def test_few_messages_are_merged_or_refused(self, part: Aggregator, count: int) -> None:
        """Where clients are absent, one message or two may be all that comes; a RunError may say that it takes more."""
        messages = _many(part)[:count]
        try:
            merged = _merged(part, messages)
        except RunError:
            return
        assert layout(merged) == layout(messages[0].payload), f"{layout(merged)} came of {count} of the messages"
        bad = [name for name, tensor in merged.tensors.items() if not tensor.isfinite().all()]
        assert not bad, f"{bad} hold NaN or infinity when no more than {count} of the clients wrote"

    def test_mismatched_names_name_both_senders(self, part: Aggregator) -> None:
        """Messages with other tensors cannot be merged; the error says whose they are."""
        first, second = _many(part)[1:3]
        fewer = {name: tensor for name, tensor in second.payload.tensors.items() if name != "fc.bias"}
        odd = Message(second.sender, Payload(fewer, second.payload.meta), second.weight)
        _assert_names_both(part, first, odd, "different tensors")

    def test_differing_metadata_names_both_senders(self, part: Aggregator) -> None:
        """A value that differs cannot be kept and must not be dropped unseen."""
        first, second = _many(part)[1:3]
        odd = Message(second.sender, Payload(second.payload.tensors, {"round": "other"}), second.weight)
        _assert_names_both(part, first, odd, "different metadata")

    def test_holds_one_message_at_a_time(self, part: Aggregator) -> None:
        """Messages are folded in as they come: the memory of a merge does not grow with the clients."""
        if not part.streaming:
            pytest.skip("this aggregator declares that it keeps all messages until the end (streaming = False)")
        _many(part)
        merge = part.open(moment(), {}, None)
        alive = []
        for sender in SENDERS:
            values = np.full(1000, float(sender), dtype=np.float32)
            alive.append(weakref.ref(values))
            merge.add(Message(sender, Payload({"fc.weight": torch.from_numpy(values)}), 1.0))
            del values
        gc.collect()
        held = sum(reference() is not None for reference in alive)
        assert held <= 1, (
            f"after {len(alive)} messages {held} are still in memory: add each to a sum and let it go, or declare "
            "streaming = False if they are needed all at once"
        )
        merge.close()

    def test_second_message_is_refused(self, part: Aggregator) -> None:
        """An aggregator that takes one message says who wrote the second."""
        if part.takes == "many":
            pytest.skip("this aggregator takes many messages")
        first, second = (Message(sender, _payload(sender), 1.0) for sender in SENDERS[1:3])
        _assert_names_both(part, first, second, "a second message")

    def test_a_message_without_weight_does_no_harm(self, part: Aggregator) -> None:
        """A client that trained on nothing has weight 0; the merge stays finite."""
        first, *rest = _many(part)
        merged = _merged(part, [Message(first.sender, first.payload, 0.0), *rest])
        bad = [name for name, tensor in merged.tensors.items() if not tensor.isfinite().all()]
        assert not bad, f"{bad} hold NaN or infinity where client {first.sender} has weight 0: divide by no zero"

    @pytest.mark.parametrize("standing", [None, _payload(70)], ids=["nothing lies there", "something lies there"])
    def test_standing_is_untouched(self, part: Aggregator, standing: Payload | None) -> None:
        """A merge works whether or not something lies at the place, and does not write to it."""
        before = standing and (standing.to_bytes(), versions(standing))
        merge = part.open(moment(1), {}, standing)
        for message in _messages(part):
            merge.add(message)
        merge.close()
        assert same(before, standing and (standing.to_bytes(), versions(standing))), (
            "what lay at the place was changed, which others read: work on a clone"
        )

    def test_messages_are_untouched(self, part: Aggregator) -> None:
        """No message's tensor is written to, neither in the merge nor in the next."""
        messages = _messages(part)
        before = [(message.payload.to_bytes(), versions(message.payload)) for message in messages]
        memory: Memory = {}
        for number in range(2):
            _merged(part, messages, memory, number)
        for message, (blob, version) in zip(messages, before, strict=True):
            assert same(message.payload.to_bytes(), blob), (
                f"client {message.sender}'s message was changed: work on a clone"
            )
            assert versions(message.payload) == version, f"client {message.sender}'s message was written to in place"

    def test_memory_survives_the_disk(self, part: Aggregator) -> None:
        """A place's memory that was saved and loaded between rounds gives the same bits."""
        kept: Memory = {}
        memory: Memory = {}
        for number in range(ROUNDS):
            messages = _messages(part, seed=number)
            expected = _merged(part, messages, kept, number).to_bytes()
            got = _merged(part, messages, memory, number).to_bytes()
            assert same(got, expected), (
                f"other bits in round {number} after `memory` was saved and loaded: keep all in it"
            )
            memory = from_disk(memory)

    def test_state_is_only_in_memory(self, part: Aggregator) -> None:
        """Another place that merges with the same part, even at the same time, changes nothing."""
        expected = [
            _merged(part, _messages(part, n), memory, n).to_bytes() for memory in [Memory()] for n in range(ROUNDS)
        ]
        mine: Memory = {}
        other: Memory = {}
        for number in range(ROUNDS):
            elsewhere = part.open(moment(number, ROUNDS), other, None)
            elsewhere.add(_messages(part, seed=90 + number)[0])
            got = _merged(part, _messages(part, number), mine, number).to_bytes()
            elsewhere.close()
            assert same(got, expected[number]), (
                "a merge at another place changed this one: keep state in the merge and memory"
            )

    def test_global_state_is_untouched(self, part: Aggregator) -> None:
        """No global generator is read or seeded, no setting that others share is changed."""
        with global_state_untouched(f"{self.name}'s merge"):
            _merged(part, _messages(part))


def _many(part: Aggregator) -> list[Message]:
    if part.takes == "one":
        pytest.skip("this aggregator takes one message")
    return _messages(part)
