"""The aggregator `example` for fedbench."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from fedbench_core.api import Aggregator, Letter, Memory, Merge, Payload, RoundContext, hookimpl
from fedbench_core.learning import Agreement

api_version = 1


@dataclass(frozen=True)
class Example(Aggregator):
    """The mean of the letters, weighted by a power of their training samples; integers by their maximum."""

    # Fields are options: `fedbench run --aggregator example --set aggregator.power=0.5`.
    power: Annotated[float, Field(ge=0, le=1, description="0 counts letters, 1 counts samples")] = 0.5

    def open(self, ctx: RoundContext, memory: Memory, standing: Payload | None) -> Merge:
        """Start a merge. What the place must remember for the next round goes into `memory`."""
        return _Merge(self.power)


class _Merge(Merge):
    def __init__(self, power: float) -> None:
        self._power = power
        self._agreement = Agreement()
        self._weight = 0.0
        self._means: dict[str, Tensor] = {}

    def add(self, letter: Letter) -> None:
        self._agreement.add(letter)  # an error that names both senders where letters do not match
        weight = letter.weight**self._power if letter.weight > 0 else 0.0
        self._weight += weight
        for name, tensor in letter.payload.tensors.items():
            # Your idea goes here. Keep sums, not letters; where that cannot be, the class above says streaming = False.
            if not tensor.is_floating_point():
                self._means[name] = torch.maximum(self._means.get(name, tensor), tensor)
                continue
            value = tensor.detach().double()
            mean = self._means.get(name, value)
            self._means[name] = mean + (value - mean) * (weight / self._weight if weight else 0.0)

    def close(self) -> Payload:
        tensors = {name: self._means[name].to(dtype) for name, (dtype, _) in self._agreement.layout.items()}
        return Payload(tensors, self._agreement.meta)


@hookimpl
def fedbench_register_aggregators() -> Mapping[str, type[Aggregator]]:
    """The aggregator by its name."""
    return {"example": Example}
