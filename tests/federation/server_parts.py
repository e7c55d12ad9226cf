"""A plugin for tests: aggregators with channels and networks of their own, and a topology with two kinds of phases."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from fedbench_core.api import SERVER, Aggregator, LocalUpdate, Method, Payload, Phase, Topology, Turn, Update, hookimpl
from fedbench_core.learning import TensorData, fit, load_global


@dataclass(frozen=True)
class PerClient(Aggregator):
    """Every client has a channel, on which it gets its own message back; `publish` names another channel."""

    publish: str = ""

    def channel(self, state, client, ctx):
        return str(client)

    def start(self, state, ctx):
        publish = self.publish

        class Echo:
            def __init__(self):
                self.payloads = {}

            def add(self, message):
                self.payloads[publish or str(message.sender)] = message.payload

            def result(self):
                return self.payloads

        return Echo()


@dataclass(frozen=True)
class Learning(Aggregator):
    """Averages head biases by training a linear network on them, and keeps that network and a backbone of its own."""

    trains: ClassVar[bool] = True
    modules: ClassVar = {"mixer": nn.Linear}

    def setup(self, state, ctx):
        state.modules["mixer"] = ctx.build_module("mixer", in_features=3, out_features=3)
        state.models["own"] = ctx.build(ctx.backbones[0], "server")
        state.memory["rounds"] = 0

    def start(self, state, ctx):
        class Training:
            def __init__(self):
                self.biases = []

            def add(self, message):
                self.last = message.payload
                self.biases.append(message.payload.tensors["head.bias"])

            def result(self):
                state.memory["rounds"] += 1
                inputs = torch.stack(self.biases) + torch.randn(3, generator=ctx.generator("noise"))
                data = TensorData(inputs, torch.arange(len(inputs)) % 3)
                fit(state.modules["mixer"], data, ctx.with_training(steps=3, batch_size=2))
                with torch.no_grad():
                    state.models["own"].head.bias.copy_(inputs.mean(dim=0))
                    mixed = state.modules["mixer"](inputs).mean(dim=0)
                return Payload({**self.last.tensors, "head.bias": mixed}, self.last.meta)

        return Training()

    def predictors(self, state, ctx):
        return {"server": state.models["own"]}


@dataclass(frozen=True)
class Echo(LocalUpdate):
    """Trains what it receives; reports the sum of what it received, and the kind of its phase."""

    twice: bool = False

    def train(self, client, received, ctx):
        net = load_global(received, client.backbone, ctx)
        metrics = fit(net, client.train, ctx)
        total = 0.0 if received is None else float(sum(t.double().sum() for t in received.tensors.values()))
        metrics |= {"received": total, "digest": float(ctx.kind == "digest"), "public": float(ctx.public is not None)}
        metrics |= {"turns": client.turns, "last_round": -1 if client.last_round is None else client.last_round}
        return Update(Payload.of(net), len(client.train), metrics)

    def predictors(self, client, received, ctx):
        return {"mine": load_global(received, client.backbone, ctx)}

    def global_predictors(self, received, backbone, ctx):
        return {"mine": load_global(received, backbone, ctx)} if self.twice else {}


@dataclass(frozen=True)
class TwoPhases(Topology):
    """First every client sends without receiving, then every client receives and sends nothing."""

    fault: str = ""

    def receives_from(self, client):
        return SERVER

    def plan(self, participating, clients, ctx):
        if self.fault == "twice":
            return [Phase([Turn(participating[0]), Turn(participating[0])])]
        if self.fault == "absent":
            absent = next(iter(set(range(clients)) - set(participating)), 99)
            return [Phase([Turn(participating[0], (absent,))])]
        if self.fault == "source":
            return [Phase([Turn(participating[0], (SERVER,), participating[-1])])]
        say = Phase([Turn(client, (SERVER,), None) for client in participating], "say")
        digest = Phase([Turn(client, (), SERVER) for client in participating], "digest")
        return [say, digest]


@hookimpl
def fedbench_register_aggregators():
    return {"s-per-client": PerClient, "s-learning": Learning}


@hookimpl
def fedbench_register_local_updates():
    return {"s-echo": Echo}


@hookimpl
def fedbench_register_topologies():
    return {"s-two-phases": TwoPhases}


@hookimpl
def fedbench_register_methods():
    return {
        "s-mean": Method("s-echo"),
        "s-per-client": Method("s-echo", aggregator="s-per-client"),
        "s-learning": Method("s-echo", aggregator="s-learning"),
        "s-phases": Method("s-echo", topology="s-two-phases"),
        "s-public": Method("s-echo", uses_public=True),
        "s-strict": Method("s-echo", requires={"momentum": 0.0, "optimizer": "sgd"}),
    }
