"""The aggregator `example` for fedbench."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from fedbench_core.api import Accumulator, Aggregator, AggregatorState, Message, Payload, RoundContext, hookimpl
from fedbench_core.learning import Agreement

api_version = 2


@dataclass(frozen=True)
class Example(Aggregator):
    """The mean of the messages, weighted by a power of their num_examples; of integers the maximum."""

    # Fields are options: `fedbench run --aggregator example --set aggregator.power=0.5`.
    power: Annotated[float, Field(ge=0, le=1, description="0 weights clients equally, 1 by images")] = 0.5

    def start(self, state: AggregatorState, ctx: RoundContext) -> Accumulator:
        """Start an aggregation. What the node keeps for the next round goes into `state.memory`."""
        return _Mean(self.power)


class _Mean(Accumulator):
    def __init__(self, power: float) -> None:
        self._power = power
        self._agreement = Agreement()
        self._weight = 0.0
        self._means: dict[str, Tensor] = {}

    def add(self, message: Message) -> None:
        self._agreement.add(message)  # RunError with both senders if messages do not match
        weight = message.num_examples**self._power if message.num_examples > 0 else 0.0
        self._weight += weight
        for name, tensor in message.payload.tensors.items():
            # Your idea goes here. Keep sums, not messages, or declare `streaming = False` in the class above.
            if not tensor.is_floating_point():
                self._means[name] = torch.maximum(self._means.get(name, tensor), tensor)
                continue
            value = tensor.detach().double()
            mean = self._means.get(name, value)
            self._means[name] = mean + (value - mean) * (weight / self._weight if weight else 0.0)

    def result(self) -> Payload:
        tensors = {name: self._means[name].to(dtype) for name, (dtype, _) in self._agreement.layout.items()}
        return Payload(tensors, self._agreement.meta)


@hookimpl
def fedbench_register_aggregators() -> Mapping[str, type[Aggregator]]:
    """The aggregator, by name."""
    return {"example": Example}
