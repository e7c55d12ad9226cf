"""FLOPs of what really ran: forward passes are counted as they happen, and the FLOPs of each kind are measured once."""

import json
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from fedbench_core.api import Backbone, Outputs
from fedbench_core.federation.calls import Forwards
from fedbench_core.models.cost import count_flops

_PROBE = 4
"""Inputs in a measurement: FLOPs grow in proportion, so a few are enough."""


class ForwardCounter:
    """Counts the inputs that go through networks, by what decides the FLOPs of one.

    That is the network, the shape of the input, and which gradients a backward pass computes.
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._keys: dict[tuple[object, ...], str] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> "ForwardCounter":
        """Copies of a network are counted with it."""
        return self

    def watch(self, net: nn.Module, name: str, sizes: Sequence[tuple[str, int]] | None) -> nn.Module:
        """Count every forward pass of a network from now on."""
        observer = _Observer(self, (name, sizes), list(net.parameters()))
        if isinstance(net, Backbone):
            net.observer = observer
        else:
            net.register_forward_pre_hook(observer.before_forward)
        return net

    def take(self) -> dict[str, int]:
        """The counts since the last call."""
        counts, self._counts = dict(self._counts), Counter()
        return counts

    def add(self, network: tuple[object, ...], inputs: Tensor, trained: tuple[bool, ...] | None) -> None:
        """Count one forward pass. trained: which of the inputs and parameters get gradients; None without any."""
        seen = (network, inputs.shape[1:], trained)
        if seen not in self._keys:
            self._keys[seen] = json.dumps([*network, list(inputs.shape[1:]), _runs(trained)])
        self._counts[self._keys[seen]] += len(inputs)


class _Observer:
    """Reports the forward passes of one network to a counter; a copy of the network gets a copy of this."""

    def __init__(
        self, counter: ForwardCounter, network: tuple[object, ...], parameters: Sequence[nn.Parameter]
    ) -> None:
        self.active = False
        self._counter, self._network, self._parameters = counter, network, parameters

    def before_forward(self, net: nn.Module, args: tuple[Any, ...]) -> None:
        if args and isinstance(args[0], Tensor):
            self.observe(net, args[0])

    def observe(self, _net: nn.Module, inputs: Tensor) -> None:
        trained = None
        if torch.is_grad_enabled():
            trained = (inputs.requires_grad, *[parameter.requires_grad for parameter in self._parameters])
        self._counter.add(self._network, inputs, trained)


def _runs(trained: Sequence[bool] | None) -> list[list[int]] | None:
    """Run lengths: [True, True, False] is [[1, 2], [0, 1]]."""
    return None if trained is None else [[int(flag), len(list(run))] for flag, run in groupby(trained)]


def add_forwards(totals: dict[str, int], more: Forwards) -> None:
    """Add counts to totals, in place."""
    for key, count in more.items():
        totals[key] = totals.get(key, 0) + count


def flops_of(forwards: Forwards, build: Any, device: str = "cpu") -> float:
    """The FLOPs of counted forward passes and of the backward passes behind them. build: (name, sizes) -> network."""
    return sum(count * _flops_per_input(json.loads(key), build, device) for key, count in sorted(forwards.items()))


def _flops_per_input(key: Sequence[Any], build: Any, device: str) -> float:
    name, sizes, shape, runs = key
    net = build(name, None if sizes is None else dict(sizes))
    inputs = torch.zeros(_PROBE, *shape, device=device)
    if runs is None:
        with torch.no_grad():
            return count_flops(lambda: net(inputs)) / _PROBE
    flags = [bool(flag) for flag, length in runs for _ in range(length)]
    inputs.requires_grad_(flags[0])
    for parameter, flag in zip(net.parameters(), flags[1:], strict=True):
        parameter.requires_grad_(flag)
    return count_flops(lambda: _step(net, inputs)) / _PROBE


def _step(net: nn.Module, inputs: Tensor) -> None:
    outputs: Tensor | Outputs = net(inputs)
    logits = outputs.logits if isinstance(outputs, Outputs) else outputs
    if logits.requires_grad:
        logits.sum().backward()  # type: ignore[no-untyped-call]  # torch's gap
