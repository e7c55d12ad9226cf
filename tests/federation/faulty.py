"""A plugin for tests: a part of each kind, with an option that says what it does wrong."""

import random
import sys
from dataclasses import dataclass
from itertools import repeat
from multiprocessing import parent_process

import numpy as np
import torch
from torch import nn

from fedbench_core.api import (
    SERVER,
    Architecture,
    Compressor,
    LocalUpdate,
    Method,
    Payload,
    Phase,
    Turn,
    Update,
    hookimpl,
)
from fedbench_core.learning import fit, load_global
from fedbench_core.parts.aggregators import Mean
from fedbench_core.parts.partitioners import Iid
from fedbench_core.parts.topologies import Star


def nan(payload):
    return Payload({**payload.tensors, "head.bias": payload.tensors["head.bias"] * torch.nan}, payload.meta)


def fewer(payload):
    return Payload({n: t for n, t in payload.tensors.items() if n != "head.bias"}, payload.meta)


def noisy(payload):
    noise = np.random.rand() + random.random() + torch.rand(1)  # noqa: NPY002, S311  # what parts should not read
    return Payload({**payload.tensors, "head.bias": payload.tensors["head.bias"] + noise.float()}, payload.meta)


@dataclass(frozen=True)
class Train(LocalUpdate):
    fault: str = ""

    def setup(self, client, ctx):
        if self.fault == "setup":
            raise KeyError("x")

    def train(self, client, received, ctx):
        net = load_global(received, client.backbone, ctx)
        metrics = fit(net, client.train, ctx)
        said = noisy(Payload.of(net)) if self.fault == "global generators" else Payload.of(net)
        if self.fault == "models":
            client.models["own"] = net.state_dict()
        if client.id == 1 and ctx.round == 1:
            if self.fault == "dtype":
                torch.set_default_dtype(torch.float64)
            if self.fault == "exit":
                sys.exit()
            if self.fault == "gpu memory":
                raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 1 GiB.")
            if self.fault == "memory":
                raise MemoryError
            said = {
                "shape": lambda: Payload({**said.tensors, "head.bias": torch.zeros(7)}),
                "name": lambda: Payload({n.replace("head", "top"): t for n, t in said.tensors.items()}),
                "dict": lambda: dict(said.tensors),
                "array": lambda: Payload({**said.tensors, "more": np.zeros(3)}),
                "number": lambda: Payload(said.tensors, {"round": 1}),
                "complex": lambda: Payload({**said.tensors, "more": torch.zeros(1, dtype=torch.complex64)}),
            }.get(self.fault, lambda: said)()
            metrics = {**metrics, "loss": "good"} if self.fault == "metric" else metrics
        return Update(said, len(client.train), metrics)

    def global_predictors(self, received, backbone, ctx):
        net = load_global(received, backbone, ctx)
        if self.fault == "blind":
            with torch.no_grad():
                net.head.bias.fill_(torch.nan)
        return {
            "nobody": {},
            "list": [net],
            "function": {"global": len},
            "identity": {"global": nn.Identity()},
        }.get(self.fault, {"global": net})


@dataclass(frozen=True)
class Wire(Compressor):
    fault: str = ""

    def encode(self, payload, ctx, memory):
        if ctx.round == 1:
            if self.fault == "raise":
                raise ZeroDivisionError("by zero")
            if self.fault == "memory":
                memory["ranks"] = [3]
            if self.fault == "dict":
                return dict(payload.tensors)
        same = Payload({**payload.tensors}, payload.meta)
        return noisy(same) if self.fault == "global generators" else same

    def decode(self, payload):
        return {"drops": fewer, "nan": nan, "none": lambda _: None}.get(self.fault, lambda same: same)(payload)


@dataclass(frozen=True)
class Merging(Mean):
    fault: str = ""

    def start(self, state, ctx):
        inner, fault = super().start(state, ctx), self.fault
        if fault == "memory":
            state.memory["messages"] = []
        if fault == "no merge":
            return None

        class Accumulator:
            def add(self, message):
                if fault == "add" and message.sender == 2:
                    raise ZeroDivisionError("by zero")
                inner.add(message)

            def result(self):
                payload = inner.result()
                if fault in ("nan", "global generators"):
                    return {"nan": nan}.get(fault, noisy)(payload)
                return None if fault == "none" else payload

        return Accumulator()


@dataclass(frozen=True)
class Plan(Star):
    fault: str = ""

    def plan(self, participating, clients, ctx):
        if ctx.round == 1:
            if self.fault == "raise":
                raise ZeroDivisionError("by zero")
            if self.fault == "endless":
                return repeat(Phase([]))
            who, where = {
                "numpy": (np.int64(0), SERVER),
                "absent": (7, SERVER),
                "nowhere": (0, 99),
                "twice": (1, SERVER),
            }.get(self.fault, (0, SERVER))
            return [Phase([Turn(1, (SERVER,)), Turn(who, (where,))])]
        return super().plan(participating, clients, ctx)


@dataclass(frozen=True)
class Deal(Iid):
    fault: str = ""

    def split(self, labels, clients, rng):
        if self.fault == "raise":
            raise ZeroDivisionError("by zero")
        shares = super().split(labels, clients, rng)
        in_worker = int(parent_process() is not None)
        first = in_worker if self.fault == "process" else np.random.randint(60)  # noqa: NPY002  # as above
        turned = np.split((np.concatenate(shares) + first) % 60, np.cumsum(list(map(len, shares)))[:-1])
        return {"few": shares[:-1], "loses": [share[1:] for share in shares]}.get(self.fault, turned)


@dataclass(frozen=True)
class Data:
    fault: str = ""

    def load(self, request):
        return [] if self.fault == "list" else {}["images"]


@dataclass(frozen=True)
class Net(Architecture):
    fault: str = ""

    @property
    def name(self):
        return "t-net"

    def build(self, outputs, channels, image_size):
        return nn.Identity() if self.fault == "identity" else {}["layers"]


@hookimpl
def fedbench_register_local_updates():
    return {"t-update": Train}


@hookimpl
def fedbench_register_methods():
    return {"t-method": Method("t-update")}


@hookimpl
def fedbench_register_compressors():
    return {"t-wire": Wire}


@hookimpl
def fedbench_register_aggregators():
    return {"t-merge": Merging}


@hookimpl
def fedbench_register_topologies():
    return {"t-plan": Plan}


@hookimpl
def fedbench_register_partitioners():
    return {"t-deal": Deal}


@hookimpl
def fedbench_register_datasets():
    return {"t-data": Data}


@hookimpl
def fedbench_register_backbones():
    return {"t-net": Net}
