"""Networks for the length of a turn: built once per process, reused with other weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from fedbench_core.api import Architecture, Backbone, ModuleFactory, RunError, Splits, torch_seed, unknown
from fedbench_core.federation.blame import blamed, expect
from fedbench_core.federation.flops import ForwardCounter
from fedbench_core.federation.generators import own_generator
from fedbench_core.federation.node_state import Tensors, Weights
from fedbench_core.federation.recent import Recent
from fedbench_core.models import pixel_statistics

_Make = Callable[[str], nn.Module]
"""Builds a network with the initial weights of a role."""
_INITIAL_KEPT = 8
_DECLARE = {
    "backbone": "Further backbones are declared in the local update's `backbones`.",
    "module": "Modules are declared in the part's `modules`.",
}


@dataclass(frozen=True)
class _Key:
    """What makes two networks exchangeable: the architecture, or the declared module and its sizes."""

    name: str
    sizes: tuple[tuple[str, int], ...] | None = None

    @property
    def words(self) -> tuple[str, ...]:
        """Its part of the stream of the initial weights."""
        return tuple(f"{name}={size}" for name, size in self.sizes or ())


def load(net: nn.Module, tensors: Tensors) -> None:
    """Copy tensors into a module that has these; RunError if one is missing or has another shape."""
    own = net.state_dict()
    for name, value in own.items():
        if name not in tensors or tensors[name].shape != value.shape:
            raise RunError(f"stored tensors do not fit {type(net).__name__}: {name}")
    if own:  # a module without tensors, such as nn.Identity, has nothing to load
        torch._foreach_copy_(list(own.values()), [tensors[name] for name in own])


def snapshot(net: nn.Module, device: str = "cpu") -> dict[str, Tensor]:
    """Copies of all parameters and buffers, on `device`."""
    return {name: value.detach().to(device, copy=True) for name, value in net.state_dict().items()}


class Networks:
    """Builds networks with their initial weights, counts their forward passes, and takes all of them back at once."""

    def __init__(
        self,
        architectures: Mapping[str, Architecture],
        modules: Mapping[str, ModuleFactory],
        splits: Splits,
        seed: int,
        device: str,
        normalization: str = "half",
    ) -> None:
        self._architectures = architectures
        self._modules = modules
        self._shape = (splits.task.outputs, splits.channels, splits.image_size)
        self._seed = seed
        self._device = device
        self._own_normalization = normalization == "backbone"
        self._normalization = pixel_statistics(splits.train) if normalization == "dataset" else None
        self._free: dict[_Key, list[nn.Module]] = {}
        self._used: list[tuple[_Key, nn.Module]] = []
        self._initial = Recent[tuple[_Key, str], Tensors](_INITIAL_KEPT)
        self._counter = ForwardCounter()

    def backbone(self, name: str, role: str = "") -> Backbone:
        """A backbone with the initial weights of (seed, "init", name, role), in training mode, until `recall`."""
        return cast("Backbone", self._with_initial_weights(*self._backbone(name), role))

    def module(self, name: str, role: str, sizes: Mapping[str, int]) -> nn.Module:
        """A declared module with the initial weights of (seed, "init", name, role, sizes), until `recall`."""
        return self._with_initial_weights(*self._module(name, sizes), role)

    def load_backbones(self, weights: Mapping[str, Weights]) -> dict[str, Backbone]:
        """Stored backbones, by role."""
        return {
            role: cast("Backbone", self._lend(*self._backbone(one.name), one.tensors)) for role, one in weights.items()
        }

    def load_modules(self, weights: Mapping[str, Weights]) -> dict[str, nn.Module]:
        """Stored modules, by role."""
        return {
            role: self._lend(*self._module(one.name, one.sizes or {}), one.tensors) for role, one in weights.items()
        }

    def weights(self, net: nn.Module, device: str = "cpu") -> Weights:
        """What to store of a network that was built here, on `device`; RunError for another one."""
        lent = self.lent(net)
        if lent is None:
            raise RunError(
                f"models and modules hold what ctx.build and ctx.build_module made; got {type(net).__name__}"
            )
        return Weights(lent[0], snapshot(net, device), lent[1])

    def lent(self, net: nn.Module) -> tuple[str, dict[str, int] | None] | None:
        """The name and, of a declared module, the sizes of a network that was built here; None for another one."""
        key = next((key for key, used in self._used if used is net), None)
        return None if key is None else (key.name, None if key.sizes is None else dict(key.sizes))

    def recall(self) -> None:
        """Take back everything that was built."""
        for key, net in self._used:
            self._free[key].append(net)
        self._used.clear()

    def forwards(self) -> dict[str, int]:
        """The inputs that went through networks since the last call, by the key of `flops`."""
        return self._counter.take()

    def _backbone(self, name: str) -> tuple[_Key, _Make]:
        return _Key(self._architecture(name).name), partial(self._make_backbone, name)

    def _module(self, name: str, sizes: Mapping[str, int]) -> tuple[_Key, _Make]:
        if name not in self._modules:
            raise unknown("module in this run", name, self._modules, _DECLARE["module"])
        key = _Key(name, tuple(sorted(sizes.items())))
        return key, partial(self._make_module, key)

    def _with_initial_weights(self, key: _Key, make: _Make, role: str) -> nn.Module:
        initial = self._initial.get((key, role), lambda: self._draw(key, make, role))
        return self._lend(key, make, initial)

    def _lend(self, key: _Key, make: _Make, tensors: Tensors) -> nn.Module:
        """A network with these tensors, in training mode."""
        free = self._free.setdefault(key, [])
        net = free.pop() if free else self._new(key, make)
        self._used.append((key, net))
        net.train()
        net.requires_grad_(requires_grad=True)
        net.zero_grad()
        load(net, tensors)
        return net

    def _architecture(self, name: str) -> Architecture:
        if name not in self._architectures:
            raise unknown("backbone in this run", name, self._architectures, _DECLARE["backbone"])
        return self._architectures[name]

    def _make_backbone(self, name: str, role: str) -> Backbone:
        architecture = self._architecture(name)
        seed = torch_seed(self._seed, "init", architecture.name, role)
        with blamed("backbone", name, architecture, refuses=True), own_generator(seed, "cpu"):
            net = architecture.build(*self._shape)
            expect(net, Backbone, "what build returned")
            net = net.to(self._device)
        net.name = architecture.name
        net.normalization = net.own_normalization if self._own_normalization else self._normalization
        return net

    def _make_module(self, key: _Key, role: str) -> nn.Module:
        seed = torch_seed(self._seed, "init", key.name, role, *key.words)
        with own_generator(seed, "cpu"):
            net = self._modules[key.name](**dict(key.sizes or ()))
            expect(net, nn.Module, f"what the factory of module {key.name!r} returned")
            return net.to(self._device)

    def _new(self, key: _Key, make: _Make) -> nn.Module:
        """A network to lend. All are built for one role: what `load` does not set begins the same in every process."""
        return self._counter.watch(make(""), key.name, key.sizes)

    def _draw(self, key: _Key, make: _Make, role: str) -> Tensors:
        """The initial weights of a role."""
        if role or self._free.get(key):
            return snapshot(make(role), self._device)
        net = self._new(key, make)
        self._free[key] = [net]  # the one that will be lent first
        return snapshot(net, self._device)
