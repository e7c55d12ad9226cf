"""SCAFFOLD (Karimireddy et al., ICML 2020): control variates correct the drift of local training."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from fedbench_core.api import (
    Accumulator,
    Aggregator,
    AggregatorState,
    Backbone,
    Client,
    Control,
    LocalUpdate,
    LogUniform,
    Memory,
    Method,
    Payload,
    RoundContext,
    Update,
    hookimpl,
)
from fedbench_core.learning import WeightedMean, batches, fit, load_global

PAPER = "Karimireddy et al., SCAFFOLD: Stochastic Controlled Averaging for Federated Learning, ICML 2020"
MODEL, CONTROL = "model", "control"  # the groups of tensors in a payload
Controls = Mapping[str, Tensor]  # a control variate: a tensor for each parameter of a network


@dataclass(frozen=True)
class Scaffold(LocalUpdate):
    """Train with gradients corrected by c - c_i; send the model and the change of c_i. c_i is the client's memory."""

    option: Annotated[Literal["I", "II"], Field(description="new c_i: I: gradient at x; II: local steps")] = "II"
    global_lr: Annotated[float, Field(gt=0, description="eta_g, the server's step size"), LogUniform(0.1, 3)] = 1.0

    def train(self, client: Client, received: Payload | None, ctx: RoundContext) -> Update:
        """Algorithm 1, lines 7 to 13. Sends x + eta_g (y - x), whose mean is the server's new x."""
        net = _model(received, client.backbone, ctx)
        start = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
        zeros = {name: torch.zeros_like(value) for name, value in start.items()}
        common: Controls = zeros if received is None else received.part(CONTROL).tensors
        own = zeros | {name: value for name, value in client.memory.items() if isinstance(value, Tensor)}
        metrics = fit(net, client.train, ctx, on_gradients=lambda now: correct(now, own, common))
        if self.option == "I":
            renewed = gradient(_model(received, client.backbone, ctx), client, ctx)
        else:
            renewed = mean_step(start, net, own, common, metrics["steps"] * ctx.lr)
        client.memory.update(renewed)
        change = {name: value - own[name] for name, value in renewed.items()}
        return Update(Payload.of(model=self._stepped(net, start), control=change), len(client.train), metrics)

    def global_predictors(self, received: Payload | None, backbone: str, ctx: RoundContext) -> Mapping[str, Backbone]:
        """The global model."""
        return {"global": _model(received, backbone, ctx)}

    def _stepped(self, net: nn.Module, start: Controls) -> dict[str, Tensor]:
        state = net.state_dict()
        return state | {name: value.lerp(state[name], self.global_lr) for name, value in start.items()}


def correct(net: nn.Module, own: Controls, common: Controls) -> None:
    """Add c - c_i to the gradients."""
    for name, parameter in net.named_parameters():
        if parameter.grad is not None:
            parameter.grad += common[name] - own[name]


@torch.no_grad()
def mean_step(start: Controls, net: nn.Module, own: Controls, common: Controls, length: float) -> dict[str, Tensor]:
    """Option II: c_i - c + (x - y) / (K eta_l); `length` is K eta_l, with the K steps that were taken."""
    now = dict(net.named_parameters())
    return {name: own[name] - common[name] + (value - now[name]) / length for name, value in start.items()}


def gradient(net: nn.Module, client: Client, ctx: RoundContext) -> dict[str, Tensor]:
    """Option I: the gradient at the global model, over all images of the client in batches (a single image twice)."""
    for batch in batches(client.train, ctx.with_training(epochs=1, steps=None), ("control",)):
        loss = ctx.task.loss(net(batch.images), batch.labels) * len(batch.images) / max(2, len(client.train))
        loss.backward()  # type: ignore[no-untyped-call]  # torch's gap
    named = dict(net.named_parameters())
    return {name: torch.zeros_like(value) if value.grad is None else value.grad for name, value in named.items()}


@dataclass(frozen=True)
class ControlledMean(Aggregator):
    """Publishes the mean of the models, and c with |S|/N of the mean change added; c is the server's memory."""

    def start(self, state: AggregatorState, ctx: RoundContext) -> Accumulator:
        """Holds one float64 copy of the tensors; RunError names two senders whose messages do not match."""
        return _ControlledMean(state.memory, ctx.clients)


class _ControlledMean(WeightedMean):
    def __init__(self, memory: Memory, clients: int) -> None:
        super().__init__(uniform=True)
        self._memory, self._clients = memory, clients

    def result(self) -> Payload:
        share = len(self.agreement.senders) / self._clients
        means = self.means()
        for name, (dtype, _) in self.agreement.layout.items():
            if name.startswith(f"{CONTROL}/"):
                before = self._memory.get(name, 0)
                self._memory[name] = means[name] = (before + share * means[name]).to(dtype)  # type: ignore[operator]  # a tensor
        return self.in_layout(means)


def _model(received: Payload | None, backbone: str, ctx: RoundContext) -> Backbone:
    return load_global(None if received is None else received.part(MODEL), backbone, ctx)


@hookimpl
def fedbench_register_local_updates() -> Mapping[str, type[LocalUpdate]]:
    """The local update."""
    return {"scaffold": Scaffold}


@hookimpl
def fedbench_register_aggregators() -> Mapping[str, type[Aggregator]]:
    """The aggregator."""
    return {"scaffold": ControlledMean}


@hookimpl
def fedbench_register_methods() -> Mapping[str, Method]:
    """The method."""
    scaffold = Method(
        "scaffold",
        "scaffold",
        downlink="dense",
        pinned=("aggregator", "compressor", "downlink"),
        requires={"optimizer": "sgd", "momentum": 0.0},
        control=Control("fedavg"),
        paper=PAPER,
        summary="FedAvg whose local gradients are corrected by control variates.",
    )
    return {"scaffold": scaffold}
