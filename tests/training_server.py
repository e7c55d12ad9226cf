"""A plugin for tests: a server that trains two networks of its own, keeps them, and may end or hang its process."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from fedbench_core.api import Method, Payload, hookimpl
from fedbench_core.parts.aggregators import Mean


@dataclass(frozen=True)
class Refining(Mean):
    """Draws a model towards the mean of the messages on random inputs, and publishes it with learned offsets.

    `path`: a folder of marks; as long as there are fewer than `times`, the aggregation of round 1 ends its process.
    """

    path: str = ""
    end: Literal["die", "hang"] = "die"
    times: int = 0

    trains = True
    modules = {"scale": nn.Linear}  # noqa: RUF012

    def setup(self, state, ctx):
        state.models["reference"] = ctx.build(ctx.backbones[0], role="reference")
        state.modules["scale"] = ctx.build_module("scale", in_features=2, out_features=3)

    def start(self, state, ctx):
        return _Accumulator(self, super().start(state, ctx), state, ctx)

    def predictors(self, state, ctx):
        return {"reference": state.models["reference"]}

    def doom(self, ctx):
        if ctx.round == 1 and len(list(Path(self.path).iterdir())) < self.times if self.times else False:
            (Path(self.path) / str(os.getpid())).touch()
            time.sleep(600) if self.end == "hang" else os.kill(os.getpid(), signal.SIGKILL)


class _Accumulator:
    def __init__(self, part, mean, state, ctx):
        self.part, self.mean, self.state, self.ctx = part, mean, state, ctx

    def add(self, message):
        self.mean.add(message)

    def result(self):
        self.part.doom(self.ctx)
        mean = self.mean.result()
        target = self.ctx.build(self.ctx.backbones[0], role="target")
        mean.load_into(target)
        reference, scale = self.state.models["reference"], self.state.modules["scale"]
        images = torch.randn((16, 3, 8, 8), generator=self.ctx.generator("images"))
        optimizer = torch.optim.SGD([*reference.parameters(), *scale.parameters()], lr=0.1)
        for _ in range(3):
            offset = scale(torch.rand(1, 2))  # of torch's own generator, as dropout
            loss = nn.functional.mse_loss(reference(images) + offset, target(images).detach())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        self.state.memory["rounds"] = 1 + self.state.memory.get("rounds", 0)
        tensors = dict(Payload.of(reference).tensors)
        [name] = [name for name in tensors if name.endswith("head.bias")]
        tensors[name] = tensors[name] + scale.bias.detach()
        return Payload(tensors, mean.meta)


@hookimpl
def fedbench_register_aggregators():
    return {"refining": Refining}


@hookimpl
def fedbench_register_methods():
    return {"refined": Method("kit-avg", aggregator="refining")}
