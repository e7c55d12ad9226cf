"""What aggregators are tested on: messages with tensors of many kinds, or those of a method."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fedbench_core.api import SERVER, Aggregator, AggregatorState, Message, Payload, RoundContext
from fedbench_core.federation.assembly import resolve
from fedbench_core.federation.networks import Networks
from fedbench_core.federation.node_state import NodeState
from fedbench_core.registry import registry
from fedbench_core.testing.examples import moment, normal
from fedbench_core.testing.small import BACKBONE, OTHER_BACKBONE, SmallFederation, partition_of, small_spec

SENDERS = (2, 11, 37, 41, 58)
ROUNDS = 3
_METHOD_ROUNDS = 2
"""Of the messages of a method, which take longer."""
_Blob = tuple[int, bytes, float]
Published = Mapping[str, Payload]


@dataclass(frozen=True)
class Inputs:
    """Messages of several rounds, and the contexts in which they are aggregated.

    any_tensors: the aggregator takes whatever tensors are sent; images: some of a client, if there are networks.
    """

    blobs: Sequence[Sequence[_Blob]]
    context: Callable[[int], RoundContext]
    any_tensors: bool
    networks: Networks | None = None
    images: Tensor | None = None

    @property
    def rounds(self) -> int:
        """How many rounds there are messages for."""
        return len(self.blobs)

    def messages(self, round_: int = 0) -> list[Message]:
        """The messages of a round, in memory of their own."""
        return [Message(sender, Payload.from_bytes(blob), count) for sender, blob, count in self.blobs[round_]]

    def state(self, part: Aggregator) -> AggregatorState:
        """The state of a server that has not aggregated yet."""
        state = AggregatorState(SERVER)
        part.setup(state, self.context(0))
        return state

    def saved(self, state: AggregatorState) -> bytes:
        """All that is kept of a state, except what was published."""
        if self.networks is None:
            assert not state.models, "it keeps networks in state.models: declare trains = True"
            assert not state.modules, "it keeps networks in state.modules: declare trains = True"
            return NodeState(memory=state.memory).to_bytes()
        models = {role: self.networks.weights(net) for role, net in state.models.items()}
        modules = {role: self.networks.weights(net) for role, net in state.modules.items()}
        return NodeState(models, modules, state.memory).to_bytes()

    def loaded(self, blob: bytes, published: Published) -> AggregatorState:
        """A state as `saved` stored it."""
        kept = NodeState.from_bytes(blob)
        state = AggregatorState(SERVER, memory=kept.memory, published=published)
        if self.networks is not None:
            state.models = self.networks.load_backbones(kept.models)
            state.modules = self.networks.load_modules(kept.modules)
        return state

    def aggregated(
        self, part: Aggregator, messages: Iterable[Message], state: AggregatorState | None = None, round_: int = 0
    ) -> dict[str, Payload]:
        """The result for these messages, by channel; `state.published` is brought up to date."""
        state = state or self.state(part)
        accumulator = part.start(state, self.context(round_))
        for message in messages:
            accumulator.add(message)
        result = accumulator.result()
        payloads = {"": result} if isinstance(result, Payload) else dict(result)
        state.published = {**state.published, **payloads}
        return payloads


def inputs_for(part: Aggregator, name: str, cache: Path) -> Inputs:
    """What an aggregator is tested on; `name` as registered."""
    method = next((one for one in registry().names("method") if registry().method(one).aggregator == name), None)
    general = _general(part)
    if part.trains and method is None:
        pytest.fail(
            f"no method uses the aggregator {name!r}, so there are no messages for it to train on: register one"
        )
    if method is not None and (part.trains or not _takes(part, general)):
        return _of_method(part, method, cache)
    return general


def _takes(part: Aggregator, inputs: Inputs) -> bool:
    try:
        inputs.aggregated(part, inputs.messages())
    except Exception:  # noqa: BLE001  # whatever it is: the part needs messages of another form
        return False
    return True


def _general(part: Aggregator) -> Inputs:
    """Messages with tensors of several dtypes and shapes; one message for an aggregator that takes one."""
    senders = SENDERS if part.takes == "many" else SENDERS[:1]
    backbones = tuple(("resnet18", "vit_tiny")[client % 2] for client in range(max(SENDERS) + 1))
    rounds = [
        [(s, example_payload(s + n, round=str(n)).to_bytes(), 3.0 + 7 * s) for s in senders] for n in range(ROUNDS)
    ]
    return Inputs(rounds, lambda number: replace(moment(number, ROUNDS), backbones=backbones), any_tensors=True)


def example_payload(seed: int, **meta: str) -> Payload:
    """Tensors of several dtypes and shapes."""
    tensors = {
        "conv.weight": normal(4, 3, 3, 3, seed=seed),
        "fc.bias": normal(3, seed=seed),
        "fc.scale": normal(3, seed=seed + 1000),
        "scale": torch.tensor(0.1 + seed),
        "half": normal(5, seed=seed).half(),
        "batches": torch.tensor(10 + seed),
    }
    return Payload(tensors, meta)


def _of_method(part: Aggregator, method: str, cache: Path) -> Inputs:
    """What the clients of a small run send in their first turns; with two backbones if the method allows that."""
    mixed = registry().method(method).mixed_backbones
    backbones = (BACKBONE, OTHER_BACKBONE) if mixed else (BACKBONE,)
    run = resolve(small_spec(method, {}, backbones=backbones, clients=len(SENDERS), steps=1))
    small = SmallFederation.of(run, partition_of(run.spec, cache))
    clients = range(run.trained if part.takes == "many" else 1)
    blobs = [
        [
            (client, bytes(message.payload.to_bytes()), message.num_examples)
            for client in clients
            for message in small.messages(client, round_)
        ]
        for round_ in range(_METHOD_ROUNDS)
    ]
    networks = small.networks if part.trains else None
    return Inputs(blobs, _contexts(small, networks), False, networks, small.client().train.tensors()[0][:4])


def _contexts(small: SmallFederation, networks: Networks | None) -> Callable[[int], RoundContext]:
    hidden = moment().builder
    return lambda number: replace(small.context(number, SERVER), builder=networks or hidden)
