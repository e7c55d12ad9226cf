"""Ways to turn the messages that a node received into what it publishes."""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from fedbench_core.api import Accumulator, Aggregator, AggregatorState, Memory, Message, Payload, RoundContext, RunError
from fedbench_core.learning import Agreement, WeightedMean


@dataclass(frozen=True)
class Mean(Aggregator):
    """The mean of the messages, weighted by training images; of integers, such as batch counters, the maximum.

    With `accumulate` the node publishes the running sum of these means over the rounds, unrounded: for clients that
    send model deltas. Of integers that is the maximum over the rounds.
    """

    uniform: Annotated[bool, Field(description="equal weights in place of the numbers of training images")] = False
    accumulate: Annotated[bool, Field(description="publish the sum of this mean and of those before")] = False

    def start(self, state: AggregatorState, ctx: RoundContext) -> Accumulator:
        """Holds one float64 copy of the tensors; RunError names two senders whose messages do not match."""
        if self.accumulate:
            return _Sum(state.memory, uniform=self.uniform)
        return WeightedMean(uniform=self.uniform)


@dataclass(frozen=True)
class Relay(Aggregator):
    """The one message that arrives, unchanged; a second message to the same node is an error."""

    takes = "one"

    def start(self, state: AggregatorState, ctx: RoundContext) -> Accumulator:
        """Takes exactly one message; RunError names the senders of two."""
        return _Relay()


class _Relay(Accumulator):
    def __init__(self) -> None:
        self._message: Message | None = None

    def add(self, message: Message) -> None:
        if self._message is not None:
            raise RunError(
                f"relay takes exactly one message, but clients {self._message.sender} and {message.sender} sent to "
                "the same node. Use --topology ring, or an aggregator for many messages (--aggregator mean)."
            )
        self._message = message

    def result(self) -> Payload:
        if self._message is None:
            raise RunError("relay takes exactly one message, but got none.")
        return self._message.payload


class _Sum(WeightedMean):
    """Adds each round's mean to the sum in `memory`."""

    def __init__(self, memory: Memory, *, uniform: bool) -> None:
        super().__init__(uniform=uniform)
        self._memory = memory

    def result(self) -> Payload:
        return self.in_layout(_accumulated(self.means(), self._memory))


def _accumulated(means: dict[str, Tensor], memory: Memory) -> dict[str, Tensor]:
    """The sums so far with `means` added, which `memory` then holds as new tensors under "sum NAME"."""
    held = {key.removeprefix("sum "): value for key, value in memory.items() if isinstance(value, Tensor)}
    if held and {name: sum_.shape for name, sum_ in held.items()} != {name: mean.shape for name, mean in means.items()}:
        raise RunError(
            f"mean(accumulate) keeps a sum of {len(held)} tensors, and this round's {len(means)} differ from them in "
            "name or shape. Send the same tensors in every round."
        )
    for name, mean in means.items():
        if not held:
            memory[f"sum {name}"] = mean
        elif mean.is_floating_point():
            memory[f"sum {name}"] = held[name] + mean
        else:
            memory[f"sum {name}"] = torch.maximum(held[name], mean)
    return {name: value for name in means if isinstance(value := memory[f"sum {name}"], Tensor)}


COUNTS = "counts"
"""The tensor of a message with the number of images of each class, (classes,)."""


@dataclass(frozen=True)
class ClassMeans(Aggregator):
    """The mean of each class over the clients that have it: row c of every tensor (classes, ...) is of class c.

    A message holds `counts` (classes,); a class that no message has keeps what was published. Of `counts` itself the
    sum is published.
    """

    weighting: Annotated[
        Literal["images", "clients"], Field(description="weights: images of the class, or equal for each client")
    ] = "images"

    def start(self, state: AggregatorState, ctx: RoundContext) -> Accumulator:
        """Holds one float64 copy of the tensors; RunError names two senders whose messages do not match."""
        return _ClassMeans(self.weighting == "images", state.published.get(""))


class _ClassMeans(Accumulator):
    def __init__(self, by_image: bool, published: Payload | None) -> None:
        self._by_image = by_image
        self._published = published
        self._agreement = Agreement()
        self._weights = torch.zeros(())
        self._sums: dict[str, Tensor] = {}

    def add(self, message: Message) -> None:
        self._agreement.add(message)
        counts = message.payload.tensors.get(COUNTS)
        if counts is None:
            raise RunError(
                f"class-means needs a tensor {COUNTS!r} (classes,), which client {message.sender} did not send."
            )
        weights = (counts if self._by_image else counts > 0).double()
        self._weights = self._weights + weights
        for name, tensor in message.payload.tensors.items():
            part = tensor if name == COUNTS else _per_class(weights, tensor) * tensor.double()
            self._sums[name] = self._sums.get(name, 0) + part

    def result(self) -> Payload:
        means = {name: self._mean(name, total) for name, total in self._sums.items()}
        return Payload(means, self._agreement.meta)

    def _mean(self, name: str, total: Tensor) -> Tensor:
        before = None if self._published is None else self._published.tensors[name]
        known = _per_class(self._weights > 0, total)
        dtype, _ = self._agreement.layout[name]
        mean = total if name == COUNTS else (total / _per_class(self._weights, total).clamp(min=1e-300)).to(dtype)
        return mean if before is None else mean.where(known, before)


def _per_class(values: Tensor, like: Tensor) -> Tensor:
    """(classes,) values that broadcast over the rows of a tensor (classes, ...)."""
    return values.view(-1, *[1] * (like.ndim - 1))


AGGREGATORS = {"mean": Mean, "relay": Relay, "class-means": ClassMeans}
