"""What a network has become since: differences of its parameters and buffers, as payloads."""

import torch
from torch import nn

from fedbench_core.api import Payload, PayloadError


@torch.no_grad()
def change(after: nn.Module, before: nn.Module) -> Payload:
    """`after` less `before`, for every parameter and buffer: also BatchNorm's statistics and its counter of batches.

    Under a mean that takes the maximum of integers, adding the merged change to what all started from gives the mean
    of the networks, and of the counters the largest.
    """
    old = before.state_dict()
    return Payload({name: value - old[name] for name, value in after.state_dict().items()})


@torch.no_grad()
def apply(received: Payload, net: nn.Module) -> None:
    """Add a change to `net` in place; PayloadError names a tensor that one of both has and the other has not."""
    state = net.state_dict()
    if odd := sorted(state.keys() ^ received.tensors.keys()):
        raise PayloadError(f"this change does not fit the model: only one of both has {odd[0]!r}")
    for name, value in state.items():
        value.add_(received.tensors[name])
