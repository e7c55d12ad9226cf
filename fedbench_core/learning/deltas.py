"""Model deltas: the differences of all parameters and buffers of two networks, as payloads."""

import torch
from torch import nn

from fedbench_core.api import Payload, PayloadError


@torch.no_grad()
def delta(after: nn.Module, before: nn.Module) -> Payload:
    """`after` minus `before`, for every parameter and buffer, BatchNorm's statistics and batch counter included.

    With an aggregator that averages floating-point tensors and takes the maximum of integers, adding the aggregate to
    the common start gives the mean of the networks, and the largest of their counters.
    """
    old = before.state_dict()
    return Payload({name: value - old[name] for name, value in after.state_dict().items()})


@torch.no_grad()
def apply_delta(received: Payload, net: nn.Module) -> None:
    """Add a model delta to `net` in place; PayloadError names a tensor that only one of the two has."""
    state = net.state_dict()
    if odd := sorted(state.keys() ^ received.tensors.keys()):
        raise PayloadError(f"this delta does not fit the model: only one of them has {odd[0]!r}")
    for name, value in state.items():
        value.add_(received.tensors[name])
