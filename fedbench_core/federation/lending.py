"""Backbones lent for the length of a turn: built once per process, loaded many times."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from fedbench_core.api import Architecture, Backbone, Splits, torch_seed, unknown
from fedbench_core.federation.blame import blamed, expect

State = Mapping[str, Tensor]
_KEPT_INITIAL = 8
_BUILDS = "What a local update builds beside the client's own backbone it names in `builds`."


def load(net: torch.nn.Module, state: State) -> None:
    """Copy `state` into a module that has exactly these tensors."""
    own = net.state_dict()
    torch._foreach_copy_(list(own.values()), [state[name] for name in own])


@contextmanager
def own_generator(seed: int, device: str) -> Iterator[None]:
    """Torch's global generators, which initialization and dropout read, seeded here and put back at the end.

    On a CPU this touches its own generator only: `torch.manual_seed` asks every kind of device, a millisecond a turn.
    """
    with torch.random.fork_rng(devices=[] if device == "cpu" else [torch.device(device)]):
        if device != "cpu":
            torch.cuda.manual_seed(seed)
        torch.default_generator.manual_seed(seed)
        yield


def snapshot(net: torch.nn.Module) -> dict[str, Tensor]:
    """Copies of all parameters and buffers, on the CPU: what rests takes no room on a GPU."""
    return {name: value.detach().to("cpu", copy=True) for name, value in net.state_dict().items()}


class Lender:
    """Lends backbones with their initial weights and takes them back all at once."""

    def __init__(self, architectures: Mapping[str, Architecture], splits: Splits, seed: int, device: str) -> None:
        self._architectures = architectures
        self._shape = (splits.task.outputs, splits.channels, splits.image_size)
        self._seed = seed
        self._device = device
        self._shelf: dict[str, list[Backbone]] = {}
        self._lent: list[Backbone] = []
        self._initial: OrderedDict[tuple[str, str], State] = OrderedDict()

    def build(self, backbone: str, role: str = "") -> Backbone:
        """A backbone with the initial weights of (seed, "init", backbone, role), training, lent till `recall`."""
        net = self.lend(backbone)
        load(net, self._initial_state(backbone, role))
        return net

    def lend(self, backbone: str) -> Backbone:
        """A backbone whose weights are left over from somebody else: load your own."""
        shelf = self._shelf.setdefault(self._architecture(backbone).name, [])
        net = shelf.pop() if shelf else self._make(backbone, "")
        self._lent.append(net)
        net.train()
        net.requires_grad_(requires_grad=True)
        net.zero_grad()
        return net

    def recall(self) -> None:
        """Take back everything that was lent."""
        for net in self._lent:
            self._shelf[net.name].append(net)
        self._lent.clear()

    def _architecture(self, backbone: str) -> Architecture:
        if backbone not in self._architectures:
            raise unknown("backbone in this run", backbone, self._architectures, _BUILDS)
        return self._architectures[backbone]

    def _make(self, backbone: str, role: str) -> Backbone:
        architecture = self._architecture(backbone)
        seed = torch_seed(self._seed, "init", architecture.name, role)
        with blamed("backbone", backbone, architecture, refuses=True), own_generator(seed, "cpu"):
            net = architecture.build(*self._shape)
            expect(net, Backbone, "what build gave")
            net = net.to(self._device)
        net.name = architecture.name
        return net

    def _initial_state(self, backbone: str, role: str) -> State:
        key = (backbone, role)
        if key not in self._initial:
            self._initial[key] = snapshot(self._make(backbone, role))
        self._initial.move_to_end(key)
        if len(self._initial) > _KEPT_INITIAL:
            self._initial.popitem(last=False)
        return self._initial[key]
