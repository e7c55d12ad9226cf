"""A plugin for tests: FedMD, which no plugin of the repository ships, and parts that do one thing wrong."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch.nn import functional as F

from fedbench_core.api import (
    SERVER,
    Aggregator,
    LocalUpdate,
    Method,
    Payload,
    Phase,
    RequestError,
    Topology,
    Turn,
    Update,
    hookimpl,
)
from fedbench_core.learning import fit


@dataclass(frozen=True)
class TwoPhases(Topology):
    """In phase "logits" clients receive nothing and send; in phase "digest" they receive and send nothing."""

    def receives_from(self, client):
        return SERVER

    def plan(self, participating, clients, ctx):
        yield Phase([Turn(client, receives_from=None) for client in participating], "logits")
        yield Phase([Turn(client, ()) for client in participating], "digest")


@dataclass(frozen=True)
class FedMD(LocalUpdate):
    """Logits of public images, their mean, which every model fits, then private images."""

    size: int = 10

    def check(self, client, ctx):
        if ctx.public is not None and len(ctx.public) < self.size:
            raise RequestError(f"There are {len(ctx.public)} public images, fewer than local_update.size={self.size}.")
        return ()

    def setup(self, client, ctx):
        client.models["own"] = ctx.build(client.backbone)

    def train(self, client, received, ctx):
        rows = ctx.shared_rng("subset", phase=0).choice(len(ctx.public), self.size, replace=False)
        public, net = ctx.public.pick(rows), client.models["own"]
        if ctx.kind == "logits":
            with torch.no_grad():
                logits = net.eval()(public.tensors()[0])
            metrics = {"loss": 0.0, "steps": 0, "digest": 0.0, "subset": int(rows.sum())}
            return Update(Payload({"logits": logits}), len(client.train), metrics)
        consensus = received.tensors["logits"]
        digest = fit(
            net,
            public,
            ctx.with_training(steps=2, batch_size=5),
            loss=lambda batch, outputs, _net: F.l1_loss(outputs.logits, consensus[batch.indices]),
            who=("digest",),
        )
        metrics = fit(net, client.train, ctx)
        return Update(None, len(client.train), {**metrics, "digest": digest["loss"], "subset": int(rows.sum())})

    def predictors(self, client, received, ctx):
        return {"own": client.models["own"]}


@dataclass(frozen=True)
class Wrong(Topology):
    """A star in which client 1 has two turns in a phase, or sends to client 0, whether or not that takes part."""

    fault: Literal["twice", "astray"] = "twice"

    def receives_from(self, client):
        return SERVER

    def plan(self, participating, clients, ctx):
        turns = [Turn(client) for client in participating]
        more = {"twice": [Turn(1)], "astray": []}[self.fault]
        if self.fault == "astray":
            turns = [Turn(client, (SERVER, 0)) for client in participating]
        return [Phase(turns + more)]


@dataclass(frozen=True)
class Astray(Aggregator):
    """Publishes the last message on a channel that nobody reads."""

    def start(self, state, ctx):
        return _Astray()


class _Astray:
    def add(self, message):
        self._payload = message.payload

    def result(self):
        return {"nobody": self._payload}


@hookimpl
def fedbench_register_topologies():
    return {"new-two-phases": TwoPhases, "new-wrong": Wrong}


@hookimpl
def fedbench_register_aggregators():
    return {"new-astray": Astray}


@hookimpl
def fedbench_register_local_updates():
    return {"new-fedmd": FedMD}


@hookimpl
def fedbench_register_methods():
    return {
        "new-fedmd": Method(
            "new-fedmd",
            topology="new-two-phases",
            options={"aggregator": {"uniform": True}},
            mixed_backbones=True,
            uses_public=True,
        ),
    }
