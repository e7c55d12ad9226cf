"""The training loop: one network, batches of some data, one optimizer."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import reduce
from operator import add
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import ParamsT

from fedbench_core.api import Backbone, Examples, Outputs, Payload, RoundContext
from fedbench_core.api.seeds import Word
from fedbench_core.learning.batch_means import BatchMeans
from fedbench_core.learning.batches import BATCHES, Batch, Data, batches

Loss = Callable[[Batch, Outputs, nn.Module], Tensor | Mapping[str, Tensor]]
"""(batch, outputs of the network, the network) -> the loss, or named terms whose sum is the loss."""


def optimizer(parameters: ParamsT, ctx: RoundContext) -> torch.optim.Optimizer:
    """A new optimizer as the local recipe defines it; fused, which is up to ten times faster on a CPU.

    parameters: those that are trained, or groups of them with settings of their own, as torch's optimizers take them.
    """
    training = ctx.training
    shared: dict[str, Any] = {"lr": ctx.lr, "weight_decay": training.weight_decay, "fused": True}
    if training.optimizer == "sgd":
        return torch.optim.SGD(parameters, momentum=training.momentum, **shared)
    kind = torch.optim.Adam if training.optimizer == "adam" else torch.optim.AdamW
    return kind(parameters, **shared)


def fit(
    net: nn.Module,
    data: Data,
    ctx: RoundContext,
    *,
    loss: Loss | None = None,
    who: tuple[Word, ...] = BATCHES,
    parameters: Sequence[nn.Parameter] | None = None,
    frozen: Sequence[nn.Module] = (),
    step: torch.optim.Optimizer | None = None,
    on_gradients: Callable[[nn.Module], object] | None = None,
) -> dict[str, float]:
    """Train `net` on `data` for the local budget; returns `loss` (a mean over the images seen) and `steps`.

    loss: replaces the task's loss; named terms are added, and each is returned under its name.
    who: the stream that orders the batches. parameters: trained in place of those of `net`, for instance those of two
    networks. frozen: modules in evaluation mode that are not trained. step: an optimizer in place of a new
    one. on_gradients: called with `net` between the backward pass and the step, before gradients are clipped.
    """
    means = BatchMeans()
    net.train()
    precision = autocast(ctx)
    with _frozen(frozen):
        step = step or optimizer(net.parameters() if parameters is None else parameters, ctx)
        for batch in batches(data, ctx, who):
            with precision:
                losses = _losses(net, batch, loss, ctx)
            step.zero_grad()
            reduce(add, losses.values()).backward()  # type: ignore[no-untyped-call]  # torch's gap
            if on_gradients is not None:
                on_gradients(net)
            clip((parameter for group in step.param_groups for parameter in group["params"]), ctx)
            step.step()
            means.add(losses, len(batch.images))
    return means.result()


def _losses(net: nn.Module, batch: Batch, loss: Loss | None, ctx: RoundContext) -> Mapping[str, Tensor]:
    if loss is None:
        return {"loss": ctx.task.loss(net(batch.images), batch.labels)}
    value = loss(batch, outputs_of(net, batch.images), net)
    return {"loss": value} if isinstance(value, Tensor) else value


def autocast(ctx: RoundContext) -> torch.autocast:
    """The precision of the recipe, for forward passes and losses; does nothing for fp32."""
    device = ctx.device.partition(":")[0]
    return torch.autocast(device, torch.bfloat16, enabled=ctx.training.precision == "bf16")


def clip(parameters: Iterable[Tensor], ctx: RoundContext) -> None:
    """Scale the gradients of `parameters` so that their common norm is at most the recipe's `clip`, if it has one."""
    if ctx.training.clip is not None:
        nn.utils.clip_grad_norm_(parameters, ctx.training.clip)


def outputs_of(net: nn.Module, inputs: Tensor) -> Outputs:
    """The outputs of a backbone; of another module its output as logits, and its input as embedding.

    In single precision at least, also under autocast: losses are more sensitive to rounding than networks.
    """
    made = net.outputs(inputs) if isinstance(net, Backbone) else Outputs(net(inputs), inputs, ())
    return Outputs(_full(made.logits), _full(made.embedding), tuple(map(_full, made.maps)))


def _full(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype == torch.bfloat16 else tensor


@contextmanager
def _frozen(modules: Sequence[nn.Module]) -> Iterator[None]:
    modes = [(part, part.training) for module in modules for part in module.modules()]
    trained = [parameter for module in modules for parameter in module.parameters() if parameter.requires_grad]
    for module in modules:
        module.eval().requires_grad_(requires_grad=False)
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
        for parameter in trained:
            parameter.requires_grad = True


def load_global(received: Payload | None, backbone: str, ctx: RoundContext) -> Backbone:
    """A backbone with the received weights, or with its initial weights if nothing was received."""
    net = ctx.build(backbone)
    if received is not None:
        received.load_into(net)
    return net


def merged(net: Backbone, received: Payload | None, backbone: str, ctx: RoundContext) -> Backbone:
    """A copy of a client's network with the received tensors in place of its own, for methods that send a part."""
    copy = ctx.build(backbone)
    Payload.of(net).load_into(copy)
    if received is not None:
        received.load_into(copy, partial=True)
    return copy


def fine_tune(net: nn.Module, train: Examples, ctx: RoundContext, epochs: int, lr_factor: float) -> None:
    """Train for `epochs` at a constant `lr_factor` of the learning rate, with a new optimizer.

    Constant, because the rate of the last rounds of a schedule would change nothing.
    """
    fit(net, train, ctx.with_training(epochs=epochs, lr=ctx.training.lr * lr_factor, schedule="constant", warmup=0))
