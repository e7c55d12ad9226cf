"""The weighted mean of messages, which aggregators build on."""

import math

import torch
from torch import Tensor

from fedbench_core.api import Accumulator, Message, Payload, RunError
from fedbench_core.learning.agreement import Agreement

_HALF = 0.5


class WeightedMean(Accumulator):
    """The mean of messages, weighted by `num_examples` or equally; of integers, such as batch counters, the maximum.

    It holds the mean so far and moves it towards each message, by the message's share of the weight so far. Unlike
    dividing a weighted sum at the end, this returns equal payloads to the bit in every dtype: their difference is 0,
    and lerp, which from half way on subtracts from its end, keeps the sign of a zero. Large weights can't overflow.
    """

    def __init__(self, *, uniform: bool = False) -> None:
        self.agreement = Agreement()
        self._uniform = uniform
        self._weight = 0.0
        self._means: dict[str, Tensor] = {}
        self._scratch = torch.empty(0, dtype=torch.float64)

    def add(self, message: Message) -> None:
        """Add one message; RunError names two senders whose messages do not match."""
        weight = 1.0 if self._uniform else _weight(message)
        self.agreement.add(message)
        self._weight += weight
        share = weight / self._weight if weight else 0.0
        for name, tensor in message.payload.tensors.items():
            if not tensor.is_floating_point():
                self._means[name] = torch.maximum(self._means[name], tensor) if name in self._means else tensor.clone()
            elif share:
                self._move(name, tensor.detach(), share)

    def means(self) -> dict[str, Tensor]:
        """The means by name, in float64; RunError if all weights are 0."""
        if not self._weight:
            senders = self.agreement.senders
            who = f"clients {', '.join(map(str, senders))}" if senders else "nobody"
            raise RunError(
                f"A weighted mean of messages from {who} has a total weight of 0. Return the number of training images "
                "as num_examples, or use --set aggregator.uniform=true."
            )
        return self._means

    def result(self) -> Payload:
        """The means in the dtypes of the messages, with the metadata that all messages share."""
        return self.in_layout(self.means())

    def in_layout(self, tensors: dict[str, Tensor]) -> Payload:
        """A payload of tensors in the dtypes of the messages, with the metadata that all messages share."""
        layout = self.agreement.layout
        return Payload({n: tensors[n].to(dtype, copy=True) for n, (dtype, _) in layout.items()}, self.agreement.meta)

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


def _weight(message: Message) -> float:
    if message.num_examples >= 0 and math.isfinite(message.num_examples):
        return float(message.num_examples)
    raise RunError(
        f"Client {message.sender}'s message has num_examples {message.num_examples:g}; expected a number of training "
        "images, 0 or more. Correct the local update, or use --set aggregator.uniform=true."
    )
