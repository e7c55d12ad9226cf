"""Ways to make one payload of the messages that arrive at a place."""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from fedbench_core.api import Accumulator, Aggregator, Memory, Message, Payload, RoundContext, RunError
from fedbench_core.learning import Agreement


@dataclass(frozen=True)
class Mean(Aggregator):
    """The mean of the messages, weighted by training samples; integers, such as BatchNorm's batch counter, by maximum.

    With `accumulate` the place keeps the running sum of these means over the rounds, unrounded, and that sum is what
    lies there: for clients who say what they changed. Integers then take the maximum over the rounds too.
    """

    uniform: Annotated[bool, Field(description="every message counts the same, whatever its samples")] = False
    accumulate: Annotated[bool, Field(description="add each round's mean to the sum of the means before")] = False

    def open(self, ctx: RoundContext, memory: Memory, standing: Payload | None) -> Accumulator:
        """A fold that holds one float64 copy of the tensors; RunError names two senders whose messages do not match."""
        return _Mean(self.uniform, memory if self.accumulate else None)


@dataclass(frozen=True)
class Relay(Aggregator):
    """The one message that arrives, unchanged; a second message to the same place is an error."""

    takes = "one"

    def open(self, ctx: RoundContext, memory: Memory, standing: Payload | None) -> Accumulator:
        """A fold of exactly one message; RunError names the senders of two."""
        return _Relay()


AGGREGATORS = {"mean": Mean, "relay": Relay}


class _Relay(Accumulator):
    def __init__(self) -> None:
        self._message: Message | None = None

    def add(self, message: Message) -> None:
        if self._message is not None:
            raise RunError(
                f"relay passes on exactly one message, but clients {self._message.sender} and {message.sender} wrote to "
                "the same place. Use --topology ring, or an aggregator for many messages (--aggregator mean)."
            )
        self._message = message

    def close(self) -> Payload:
        if self._message is None:
            raise RunError("relay passes on exactly one message, but its merge was closed without any.")
        return self._message.payload


_HALF = 0.5


class _Mean(Accumulator):
    """Holds the mean so far and moves it towards each message, by the message's share of the weight so far.

    Unlike dividing a weighted sum at the end, this gives equal payloads back to the bit in every dtype: their
    difference is 0, and lerp, which from half way on subtracts from its end, keeps even the sign of a zero. Nor can
    large weights overflow.
    """

    def __init__(self, uniform: bool, memory: Memory | None) -> None:
        self._uniform = uniform
        self._memory = memory
        self._agreement = Agreement()
        self._weight = 0.0
        self._means: dict[str, Tensor] = {}
        self._scratch = torch.empty(0, dtype=torch.float64)

    def add(self, message: Message) -> None:
        weight = 1.0 if self._uniform else _checked_weight(message)
        self._agreement.add(message)
        self._weight += weight
        share = weight / self._weight if weight else 0.0
        for name, tensor in message.payload.tensors.items():
            if not tensor.is_floating_point():
                self._means[name] = torch.maximum(self._means[name], tensor) if name in self._means else tensor.clone()
            elif share:
                self._move(name, tensor.detach(), share)

    def close(self) -> Payload:
        if not self._weight:
            senders = self._agreement.senders
            who = f"clients {', '.join(map(str, senders))}" if senders else "nobody"
            raise RunError(
                f"A weighted mean of messages from {who} has a total weight of 0. Update with the number of training "
                "samples as weight, or use --set aggregator.uniform=true."
            )
        merged = self._means if self._memory is None else _accumulated(self._means, self._memory)
        layout = self._agreement.layout
        tensors = {name: merged[name].to(dtype, copy=True) for name, (dtype, _) in layout.items()}
        return Payload(tensors, self._agreement.meta)

    def _move(self, name: str, tensor: Tensor, share: float) -> None:
        if name not in self._means:
            self._means[name] = tensor.to(torch.float64, copy=True, memory_format=torch.contiguous_format)
            return
        mean = self._means[name]
        if self._scratch.numel() < mean.numel() or self._scratch.device != mean.device:
            self._scratch = torch.empty_like(mean).view(-1)  # allocating anew for every message is five times slower
        message = self._scratch[: mean.numel()].view(mean.shape).copy_(tensor)
        if share < _HALF:
            torch.lerp(message, mean, 1 - share, out=mean)
        else:
            mean.lerp_(message, share)


def _checked_weight(message: Message) -> float:
    if message.weight >= 0 and math.isfinite(message.weight):
        return float(message.weight)
    raise RunError(
        f"Client {message.sender}'s message has the weight {message.weight:g}; expected a number of training samples, "
        "0 or more. Mend the local update's reply, or use --set aggregator.uniform=true."
    )


def _accumulated(means: dict[str, Tensor], memory: Memory) -> dict[str, Tensor]:
    """The sums so far with `means` added, which `memory` then holds as new tensors under "sum NAME"."""
    held = {key.removeprefix("sum "): value for key, value in memory.items() if isinstance(value, Tensor)}
    if held and {name: sum_.shape for name, sum_ in held.items()} != {name: mean.shape for name, mean in means.items()}:
        raise RunError(
            f"mean(accumulate) keeps a sum of {len(held)} tensors, and this round's {len(means)} differ from them in "
            "name or shape. Say the same tensors in every round."
        )
    for name, mean in means.items():
        if not held:
            memory[f"sum {name}"] = mean
        elif mean.is_floating_point():
            memory[f"sum {name}"] = held[name] + mean
        else:
            memory[f"sum {name}"] = torch.maximum(held[name], mean)
    return {name: value for name in means if isinstance(value := memory[f"sum {name}"], Tensor)}
