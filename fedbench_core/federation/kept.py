"""Models that outlive their run: how a network is described so that it can be built again, and its file.

A network can be kept if everything in it can be built by name: what `ctx.build` and `ctx.build_module` made, a
`Sequential` or `ModuleList` of these, and an object of a class that the part declares in `modules` (or that
`fedbench_core.learning` exports), if its constructor takes the networks, tensors and numbers by their attribute names.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from fedbench_core import learning
from fedbench_core.api import Backbone, FedbenchError, ModuleFactory, Normalization, RunError, pack, unpack
from fedbench_core.federation.calls import KeptModel
from fedbench_core.federation.files import Blob, Storage
from fedbench_core.federation.generators import own_generator
from fedbench_core.federation.networks import Networks

Description = Mapping[str, Any]
"""How to build a network, in JSON: {"backbone": name, "normalization"}, {"module": name, "sizes"}, {"sequence": kind,
"networks"}, or {"class": name, "networks", "tensors", "options"}."""
_SEQUENCES: Mapping[str, Callable[..., nn.Module]] = {
    "Sequential": lambda nets: nn.Sequential(*nets),
    "ModuleList": nn.ModuleList,
}


class _UnnamedError(Exception):
    """A network holds something that can't be built by name; the message says what."""


def keep(
    net: nn.Module, networks: Networks, modules: Mapping[str, ModuleFactory], storage: Storage, path: Path
) -> KeptModel:
    """Write a network with its description; what can't be built again is not written, and the reason returned."""
    try:
        network = describe(net, networks, modules)
    except _UnnamedError as error:
        return KeptModel(reason=str(error))
    blob = pack(net.state_dict(), {"network": network})
    return KeptModel(storage.write(path, blob), len(blob), network)


def describe(net: nn.Module, networks: Networks, modules: Mapping[str, ModuleFactory]) -> Description:
    """How to build `net` again. networks: which lent what is in it; modules: what the run's parts declare."""
    lent = networks.lent(net)
    if lent is not None:
        name, sizes = lent
        return _backbone(name, net) if isinstance(net, Backbone) else {"module": name, "sizes": sizes}
    kind = type(net).__name__
    if isinstance(net, nn.Sequential | nn.ModuleList) and kind in _SEQUENCES:
        return {"sequence": kind, "networks": [describe(part, networks, modules) for part in net]}
    name = next((name for name, made in _classes(modules).items() if made is type(net)), "")
    if not name:
        raise _UnnamedError(
            f"{kind} was not made by ctx.build or ctx.build_module, and is no class that the part declares in `modules`"
        )
    parts = {name: describe(part, networks, modules) for name, part in net.named_children()}
    tensors = [tensor for tensor in net.state_dict() if "." not in tensor]
    return {"class": name, "networks": parts, "tensors": tensors, "options": _options(net, {*parts, *tensors})}


def _backbone(name: str, net: Backbone) -> Description:
    return {"backbone": name, "normalization": None if net.normalization is None else asdict(net.normalization)}


def _options(net: nn.Module, named: set[str]) -> dict[str, Any]:
    """The other arguments of a network's constructor, which are attributes of the same name."""
    asked = set(inspect.signature(type(net)).parameters)
    values = {name: getattr(net, name, None) for name in sorted(asked - named)}
    unclear = [name for name, value in values.items() if not isinstance(value, int | float | str)]
    if unclear or named - asked:
        takes, holds = ", ".join(sorted(asked)), ", ".join(sorted(named))
        raise _UnnamedError(
            f"the constructor of {type(net).__name__} takes {takes}; expected the names of its networks and tensors "
            f"({holds}), and of attributes that are numbers or text"
        )
    return values


def _classes(modules: Mapping[str, ModuleFactory]) -> dict[str, Any]:
    """The classes that a description may name."""
    public = {name: getattr(learning, name) for name in learning.__all__}
    known = {**public, **modules}
    return {name: made for name, made in known.items() if isinstance(made, type) and issubclass(made, nn.Module)}


def load(blob: Blob, backbone: Callable[[str], Backbone], modules: Mapping[str, ModuleFactory]) -> nn.Module:
    """The network in a file that `keep` wrote, in evaluation mode; RunError if it can't be built or doesn't fit.

    backbone: builds one by its name; modules: what the run's parts declare.
    """
    tensors, meta = unpack(blob)
    try:
        with own_generator(0, "cpu"):  # building draws weights, which are replaced
            net = _build(meta["network"], backbone, modules, tensors, "")
        net.load_state_dict(tensors)
    except FedbenchError:
        raise
    except Exception as error:  # a plugin's factory may raise anything
        raise RunError(f"its network can't be built again: {type(error).__name__}: {error}") from error
    return net.eval()


def _build(
    network: Description,
    backbone: Callable[[str], Backbone],
    modules: Mapping[str, ModuleFactory],
    tensors: Mapping[str, Tensor],
    prefix: str,
) -> nn.Module:
    """A network by its description; the tensors that its constructors take have names that start with `prefix`."""
    if "backbone" in network:
        net = backbone(network["backbone"])
        values = network["normalization"]
        net.normalization = values and Normalization(tuple(values["mean"]), tuple(values["std"]))
        return net
    if "module" in network:
        return modules[network["module"]](**network["sizes"])
    if "sequence" in network:
        nets = [_build(one, backbone, modules, tensors, f"{prefix}{at}.") for at, one in enumerate(network["networks"])]
        return _SEQUENCES[network["sequence"]](nets)
    parts = {
        name: _build(one, backbone, modules, tensors, f"{prefix}{name}.") for name, one in network["networks"].items()
    }
    own = {name: tensors[f"{prefix}{name}"].clone() for name in network["tensors"]}
    composed: nn.Module = _classes(modules)[network["class"]](**parts, **own, **network["options"])
    return composed
