"""The contract of aggregators."""

import gc
import re
import weakref
from collections.abc import Callable
from typing import Any

import numpy.typing as npt
import pytest
import torch
from torch import nn

from fedbench_core.api import Aggregator, AggregatorState, Message, Payload, RunError
from fedbench_core.testing.contract import PartContract, Trace, global_state_untouched, same
from fedbench_core.testing.examples import layout, versions
from fedbench_core.testing.inputs import SENDERS, Inputs, example_payload, inputs_for
from fedbench_core.testing.small import cache_of

TOLERANCE = 1e-6
_INPUTS: "weakref.WeakKeyDictionary[type, Inputs]" = weakref.WeakKeyDictionary()
"""By suite, because the messages of a method are trained."""


class AggregatorContract(PartContract[Aggregator]):
    """Repeatable, independent of order and scale, exact on equal messages; all state is in the node's state.

    The messages hold tensors of several kinds, or (for an aggregator that trains, or refuses those) what the clients of
    the first method send that uses the aggregator.
    """

    kind = "aggregator"

    @pytest.fixture
    def inputs(self, part: Aggregator, tmp_path_factory: pytest.TempPathFactory) -> Inputs:
        """The messages and contexts."""
        if type(self) not in _INPUTS:
            _INPUTS[type(self)] = inputs_for(part, self.name, cache_of(tmp_path_factory))
        inputs = _INPUTS[type(self)]
        if inputs.networks is not None:
            inputs.networks.recall()
        return inputs

    @pytest.fixture
    def trace(self, part: Aggregator, inputs: Inputs) -> Trace:
        """The result for some messages."""
        return lambda: _bytes(inputs.aggregated(part, inputs.messages()))

    def test_same_messages_same_bits(self, part: Aggregator, inputs: Inputs) -> None:
        """The same messages give the same bits every time, from any instance of the part."""
        first = _rounds(part, inputs)
        for again in (part, self.make()):
            assert same(_rounds(again, inputs), first), (
                "the same messages and state gave other bits: keep state in `state`, draw from ctx.rng(...) and "
                "ctx.generator(...)"
            )

    def test_order_hardly_matters(self, part: Aggregator, inputs: Inputs) -> None:
        """Messages in another order give the same result within 1e-6."""
        _needs(not part.trains, "this aggregator trains, which amplifies rounding; see its method's suite")
        messages = _many(part, inputs)
        expected = inputs.aggregated(part, messages)
        for order in (messages[::-1], messages[2:] + messages[:2]):
            _assert_close(inputs.aggregated(part, order), expected, "when the messages come in another order")

    @pytest.mark.parametrize("factor", [0.001, 1e6])
    def test_scale_of_num_examples_is_irrelevant(self, part: Aggregator, inputs: Inputs, factor: float) -> None:
        """All num_examples times a factor give the same result."""
        _needs(not part.trains, "this aggregator trains, which amplifies rounding")
        messages = inputs.messages()
        scaled = [Message(message.sender, message.payload, message.num_examples * factor) for message in messages]
        expected = inputs.aggregated(part, messages)
        _assert_close(inputs.aggregated(part, scaled), expected, f"when all num_examples are {factor:g} times as large")

    def test_equal_payloads_give_that_payload(self, part: Aggregator, inputs: Inputs) -> None:
        """The result for equal payloads is that payload, to the bit; common metadata is kept."""
        _needs_any(inputs)
        payload = example_payload(1, backbone="resnet18")
        messages = [Message(message.sender, payload, message.num_examples) for message in inputs.messages()]
        for result in inputs.aggregated(part, messages).values():
            assert layout(result) == layout(payload), (
                f"{layout(result)} is the result for messages of {layout(payload)}: return every tensor in its own form"
            )
            assert dict(result.meta) == dict(payload.meta), (
                f"the result has metadata {dict(result.meta)}, all messages have {dict(payload.meta)}: "
                "keep what they share"
            )
            assert same(result.to_bytes(), payload.to_bytes()), (
                f"{len(messages)} equal payloads gave another one: compute in float64, and return each tensor in its "
                "own dtype and under its own name"
            )

    @pytest.mark.parametrize("count", [1, 2])
    def test_few_messages_are_aggregated_or_refused(self, part: Aggregator, inputs: Inputs, count: int) -> None:
        """One or two messages, all that may arrive with partial participation, give a result or a RunError."""
        messages = _many(part, inputs)[:count]
        try:
            results = inputs.aggregated(part, messages)
        except RunError:
            return
        for result in results.values():
            forms = (layout(result), layout(messages[0].payload))
            assert not inputs.any_tensors or forms[0] == forms[1], f"{forms[0]} is the result for {forms[1]}"
            _assert_finite(result, f"when no more than {count} of the clients sent a message")

    def test_mismatched_names_name_both_senders(self, part: Aggregator, inputs: Inputs) -> None:
        """Messages with different tensors are an error that names their senders."""
        _needs_any(inputs)
        first, second = _many(part, inputs)[1:3]
        fewer = {name: tensor for name, tensor in second.payload.tensors.items() if name != "fc.bias"}
        odd = Message(second.sender, Payload(fewer, second.payload.meta), second.num_examples)
        _assert_names_both(part, inputs, first, odd, "different tensors")

    def test_differing_metadata_names_both_senders(self, part: Aggregator, inputs: Inputs) -> None:
        """Messages with different metadata are an error that names their senders."""
        _needs_any(inputs)
        first, second = _many(part, inputs)[1:3]
        odd = Message(second.sender, Payload(second.payload.tensors, {"round": "other"}), second.num_examples)
        _assert_names_both(part, inputs, first, odd, "different metadata")

    def test_holds_one_message_at_a_time(self, part: Aggregator, inputs: Inputs) -> None:
        """Memory does not grow with the number of messages."""
        _needs(part.streaming, "this aggregator declares that it keeps all messages until the end (streaming = False)")
        accumulator = part.start(inputs.state(part), inputs.context(0))
        held = [_add_watched(accumulator.add, message) for message in _many(part, inputs)]
        gc.collect()
        count = sum(any(array() is not None for array in arrays) for arrays in held)
        assert count <= 1, (
            f"after {len(held)} messages {count} are still in memory: add each to a sum and drop it, or declare "
            "streaming = False if all are needed at once"
        )
        accumulator.result()

    def test_second_message_is_refused(self, part: Aggregator, inputs: Inputs) -> None:
        """An aggregator that takes one message names both senders if a second one arrives."""
        _needs(part.takes == "one", "this aggregator takes many messages")
        [message] = inputs.messages()
        first, second = (Message(sender, message.payload, 1.0) for sender in SENDERS[1:3])
        _assert_names_both(part, inputs, first, second, "a second message")

    def test_message_without_examples_does_no_harm(self, part: Aggregator, inputs: Inputs) -> None:
        """A message with num_examples 0 leaves the result finite."""
        first, *others = _many(part, inputs)
        results = inputs.aggregated(part, [Message(first.sender, first.payload, 0.0), *others])
        for result in results.values():
            _assert_finite(result, f"when client {first.sender} sends num_examples 0: don't divide by zero")

    @pytest.mark.parametrize("before", [False, True], ids=["nothing published", "something published"])
    def test_published_payloads_are_untouched(self, part: Aggregator, inputs: Inputs, before: bool) -> None:
        """An aggregation works whether or not something was published before, and does not change it."""
        state = inputs.state(part)
        if before:
            inputs.aggregated(part, inputs.messages(), state)
        published = {channel: Payload.from_bytes(payload.to_bytes()) for channel, payload in state.published.items()}
        state.published = published
        old = _bytes(published), [versions(payload) for payload in published.values()]
        inputs.aggregated(part, inputs.messages(1), state, 1)
        assert same(old, (_bytes(published), [versions(payload) for payload in published.values()])), (
            "what was published before was changed, which clients read: work on a clone"
        )

    def test_messages_are_untouched(self, part: Aggregator, inputs: Inputs) -> None:
        """No tensor of a message is written to, neither in its own aggregation nor in the next."""
        messages, state = inputs.messages(), inputs.state(part)
        before = [(message.payload.to_bytes(), versions(message.payload)) for message in messages]
        for number in range(2):
            inputs.aggregated(part, messages, state, number)
        for message, (blob, version) in zip(messages, before, strict=True):
            assert same(message.payload.to_bytes(), blob), (
                f"client {message.sender}'s message was changed: work on a clone"
            )
            assert versions(message.payload) == version, f"client {message.sender}'s message was written to in place"

    def test_state_survives_saving(self, part: Aggregator, inputs: Inputs) -> None:
        """A state that is saved and loaded between rounds, for another instance of the part, gives the same bits."""
        straight, state = _rounds(part, inputs), inputs.state(part)
        for number in range(inputs.rounds):
            results = inputs.aggregated(self.make(), inputs.messages(number), state, number)
            assert same(_bytes(results), straight[number]), (
                f"other bits in round {number} after `state` was saved and loaded: keep everything in its models, "
                "modules and memory"
            )
            state = inputs.loaded(inputs.saved(state), state.published)

    def test_state_is_only_in_the_node(self, part: Aggregator, inputs: Inputs) -> None:
        """An aggregation at another node, even at the same time, changes nothing."""
        expected, state, other = _rounds(part, inputs), inputs.state(part), inputs.state(part)
        for number in range(inputs.rounds):
            elsewhere = part.start(other, inputs.context(number))
            elsewhere.add(inputs.messages((number + 1) % inputs.rounds)[0])
            results = inputs.aggregated(part, inputs.messages(number), state, number)
            elsewhere.result()
            assert same(_bytes(results), expected[number]), (
                "an aggregation at another node changed this one: keep state in the accumulator and in `state`"
            )

    def test_every_channel_is_read(self, part: Aggregator, inputs: Inputs) -> None:
        """The result has payloads for channels that clients read, and for no other."""
        state = inputs.state(part)
        results = inputs.aggregated(part, inputs.messages(), state)
        names = _channels(part, inputs, state, 0)
        assert all(isinstance(name, str) for name in names), f"channel returned {names}; expected strings"
        unread = sorted(results.keys() - set(names))
        assert not unread, f"it publishes on {unread}, which no client reads; clients read {sorted(set(names))}"

    def test_channel_without_news_keeps_its_payload(self, part: Aggregator, inputs: Inputs) -> None:
        """Clients that received something go on receiving it when only one other client sends a message."""
        state, messages = inputs.state(part), inputs.messages()
        for number, arrived in enumerate((messages, inputs.messages(1)[-1:])):
            before = dict(state.published)
            try:
                results = inputs.aggregated(part, arrived, state, number)
            except RunError:  # it takes more than one message
                return
            names = _channels(part, inputs, state, number + 1)
            left = [one.sender for one in messages if names[one.sender] not in state.published]
            assert not left, (
                f"in round {number + 1} clients {left} receive nothing from the channels that they read: a channel "
                "keeps its payload, and clients have to stay with it"
            )
            for channel, payload in results.items():
                forms = layout(payload), layout(before.get(channel, payload))
                assert not inputs.any_tensors or forms[0] == forms[1], (
                    f"channel {channel!r} had {forms[1]} and now has {forms[0]}: leave a channel without messages out"
                )
                _assert_finite(payload, f"in channel {channel!r}: leave a channel without messages out of the result")

    def test_predictors_classify(self, part: Aggregator, inputs: Inputs) -> None:
        """The server's own models return logits, the same every time, and predicting changes no state."""
        _needs(type(part).predictors is not Aggregator.predictors, "this aggregator has no models of its own")
        assert part.trains, "predictors are for aggregators that train: declare trains = True"
        assert inputs.images is not None
        state = inputs.state(part)
        inputs.aggregated(part, inputs.messages(), state)
        before = inputs.saved(state)
        first, again = ([_weights(net) for net in _predictors(part, inputs, state).values()] for _ in range(2))
        assert same(inputs.saved(state), before), "predictors changed the state: copy before you change"
        assert same(first, again), "predictors gave other models the second time"
        for role, net in _predictors(part, inputs, state).items():
            logits, outputs = net.eval()(inputs.images), inputs.context(0).task.outputs
            expected = (len(inputs.images), outputs)
            assert tuple(logits.shape) == expected, (
                f"predictor {role!r} gave {tuple(logits.shape)}; expected {expected}"
            )

    def test_check_returns_notes(self, part: Aggregator, inputs: Inputs) -> None:
        """The notes for the record are sentences."""
        notes = part.check(inputs.context(0))
        assert all(isinstance(note, str) for note in notes), f"check returned {notes}; expected strings"

    def test_global_state_is_untouched(self, part: Aggregator, inputs: Inputs) -> None:
        """No global generator is read or seeded, no shared setting is changed."""
        with global_state_untouched(f"{self.name}'s aggregation"):
            inputs.aggregated(part, inputs.messages())


def _needs(condition: bool, reason: str) -> None:
    if not condition:
        pytest.skip(reason)


def _needs_any(inputs: Inputs) -> None:
    _needs(inputs.any_tensors, "this aggregator takes messages of its method's own form")


def _many(part: Aggregator, inputs: Inputs) -> list[Message]:
    _needs(part.takes == "many", "this aggregator takes one message")
    return inputs.messages()


def _bytes(payloads: "dict[str, Payload]") -> dict[str, bytes]:
    return {channel: bytes(payload.to_bytes()) for channel, payload in payloads.items()}


def _rounds(part: Aggregator, inputs: Inputs) -> list[dict[str, bytes]]:
    """What several rounds publish."""
    state = inputs.state(part)
    return [_bytes(inputs.aggregated(part, inputs.messages(n), state, n)) for n in range(inputs.rounds)]


def _channels(part: Aggregator, inputs: Inputs, state: AggregatorState, number: int) -> list[str]:
    """The channel that each client reads in a round."""
    ctx = inputs.context(number)
    seen = AggregatorState(state.id, memory=state.memory, published=state.published)
    return [part.channel(seen, client, ctx) for client in range(ctx.clients)]


def _predictors(part: Aggregator, inputs: Inputs, state: AggregatorState) -> dict[str, nn.Module]:
    return dict(part.predictors(state, inputs.context(0)))


def _weights(net: nn.Module) -> bytes:
    return bytes(Payload.of(net).to_bytes())


def _add_watched(add: Callable[[Message], None], message: Message) -> "list[weakref.ref[npt.NDArray[Any]]]":
    """Add a message whose arrays nobody else holds; weak references to them."""
    arrays = {name: tensor.numpy().copy() for name, tensor in message.payload.tensors.items()}
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    add(Message(message.sender, Payload(tensors, message.payload.meta), message.num_examples))
    return [weakref.ref(array) for array in arrays.values()]


def _assert_finite(payload: Payload, when: str) -> None:
    bad = [name for name, tensor in payload.tensors.items() if not tensor.isfinite().all()]
    assert not bad, f"{bad} hold NaN or infinity {when}"


def _assert_close(got: "dict[str, Payload]", expected: "dict[str, Payload]", when: str) -> None:
    assert got.keys() == expected.keys(), f"other channels {when}"
    for channel, payload in expected.items():
        assert set(got[channel].tensors) == set(payload.tensors), f"other tensors {when}"
        for name, tensor in payload.tensors.items():
            # half precision has three digits: its last bit may differ
            limit = 1e-3 if tensor.dtype == torch.float16 else TOLERANCE
            off = (got[channel].tensors[name].double() - tensor.double()).abs().max().item()
            scale = max(1.0, tensor.double().abs().max().item())
            assert off <= limit * scale, f"{name!r} differs by {off:g} {when}: compute in float64"


def _assert_names_both(part: Aggregator, inputs: Inputs, first: Message, second: Message, what: str) -> None:
    with pytest.raises(RunError) as caught:
        inputs.aggregated(part, [first, second])
    for sender in (first.sender, second.sender):
        assert re.search(rf"\b{sender}\b", str(caught.value)), (
            f"the error about {what} does not name client {sender}: {caught.value}"
        )
