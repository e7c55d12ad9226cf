"""FLOPs of what really ran: forward passes are counted as they happen, and the FLOPs of each kind are measured once."""

import json
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from fedbench_core.api import Backbone
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
        """Count every forward pass of a network from now on; of a backbone also those of its head alone."""
        observer = _Observer(self, (name, sizes, WHOLE), net)
        if not isinstance(net, Backbone):
            net.register_forward_pre_hook(observer.before_forward)
            return net
        net.observer = observer
        head = getattr(net, HEAD, None)
        if isinstance(head, nn.Module):
            head.register_forward_pre_hook(_Observer(self, (name, sizes, HEAD), head, observer).before_forward)
        return net

    def take(self) -> dict[str, int]:
        """The counts since the last call."""
        counts, self._counts = dict(self._counts), Counter()
        return counts

    def add(self, network: tuple[object, ...], inputs: Sequence[Tensor], trained: tuple[bool, ...] | None) -> None:
        """Count one forward pass. trained: which of the parameters get gradients; None without any."""
        shapes = tuple((value.shape[1:], value.dtype, value.requires_grad) for value in inputs)
        seen = (network, shapes, trained)
        if seen not in self._keys:
            plain = [[list(shape), _dtype_name(dtype), grad] for shape, dtype, grad in shapes]
            self._keys[seen] = json.dumps([*network, plain, _runs(trained)])
        self._counts[self._keys[seen]] += len(inputs[0]) if inputs[0].ndim else 1


def _dtype_name(dtype: torch.dtype) -> str:
    """That of an input; what autocast made is single precision where a network is measured, without autocast."""
    return "float32" if dtype == torch.bfloat16 else str(dtype).removeprefix("torch.")


WHOLE, HEAD = "", "head"
"""The parts of a network that are counted."""


class _Observer:
    """Reports the forward passes of one network to a counter; a copy of the network gets a copy of this.

    within: the observer of the network that this one is a part of, whose passes include those of the part.
    """

    def __init__(
        self,
        counter: ForwardCounter,
        network: tuple[object, ...],
        net: nn.Module,
        within: "_Observer | None" = None,
    ) -> None:
        self.active = False
        self._counter, self._network, self._within = counter, network, within
        self._parameters = list(net.parameters())

    def before_forward(self, net: nn.Module, args: tuple[Any, ...]) -> None:
        if self._within is None or not self._within.active:
            self._count([value for value in args if isinstance(value, Tensor)])

    def observe(self, _net: nn.Module, inputs: Tensor) -> None:
        self._count([inputs])

    def _count(self, inputs: Sequence[Tensor]) -> None:
        if not inputs:
            return
        trained = None
        if torch.is_grad_enabled():
            trained = tuple(parameter.requires_grad for parameter in self._parameters)
        self._counter.add(self._network, inputs, trained)


def _runs(trained: Sequence[bool] | None) -> list[list[int]] | None:
    """Run lengths: [True, True, False] is [[1, 2], [0, 1]]."""
    return None if trained is None else [[int(flag), len(list(run))] for flag, run in groupby(trained)]


def add_forwards(totals: dict[str, int], more: Forwards) -> None:
    """Add counts to totals, in place."""
    for key, count in more.items():
        totals[key] = totals.get(key, 0) + count


def flops_of(forwards: Forwards, build: Any, device: str = "cpu") -> float | None:
    """The FLOPs of counted forward passes and of the backward passes behind them.

    build: (name, sizes) -> network. None if a network can't be measured on inputs of the shapes that were counted.
    """
    try:
        return sum(count * _flops_per_input(json.loads(key), build, device) for key, count in sorted(forwards.items()))
    except Exception:  # noqa: BLE001  # a module of a plugin may need more than tensors of these shapes
        return None


def _flops_per_input(key: Sequence[Any], build: Any, device: str) -> float:
    name, sizes, part, inputs, runs = key
    net = build(name, None if sizes is None else dict(sizes))
    net = net.head if part == HEAD else net
    tensors = [_zeros(*one, device=device) for one in inputs]
    if runs is None:
        with torch.no_grad():
            return count_flops(lambda: net(*tensors)) / _PROBE
    flags = [bool(flag) for flag, length in runs for _ in range(length)]
    for parameter, flag in zip(net.parameters(), flags, strict=True):
        parameter.requires_grad_(flag)
    return count_flops(lambda: _step(net, tensors)) / _PROBE


def _zeros(shape: Sequence[int], dtype: str, requires_grad: bool, *, device: str) -> Tensor:
    return torch.zeros(_PROBE, *shape, dtype=getattr(torch, dtype), device=device, requires_grad=requires_grad)


def _step(net: nn.Module, inputs: Sequence[Tensor]) -> None:
    outputs = net(*inputs)
    tensors = [outputs] if isinstance(outputs, Tensor) else [value for value in outputs if isinstance(value, Tensor)]
    losses = [value.sum() for value in tensors if value.requires_grad]
    if losses:
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]  # torch's gap
