"""What parts return in a call, and which of the received tensors they use, checked."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from numbers import Real

from torch import Tensor, nn

from fedbench_core.api import Client, LocalUpdate, Payload, RoundContext, RunError, Update
from fedbench_core.federation.blame import expect
from fedbench_core.federation.wire import check_finite


def _versions(payload: Payload | None) -> list[int]:
    return [] if payload is None else [tensor._version for tensor in payload.tensors.values()]  # noqa: SLF001  # torch has no public name for it


def trained(local_update: LocalUpdate, client: Client, received: Payload | None, ctx: RoundContext) -> Update:
    """A valid update; RunError for another one, or where the received payload was changed."""
    versions = _versions(received)
    update = local_update.train(client, received, ctx)
    if _versions(received) != versions:
        raise RunError("it changed the payload it received, which other clients share. Clone the tensors first.")
    expect(update, Update, "what train returned")
    if not (isinstance(update.num_examples, int | float) and 0 <= update.num_examples < math.inf):
        raise RunError(f"its update has num_examples {update.num_examples}; expected the number of training images")
    for name, value in update.metrics.items():
        expect(value, Real, f"its metric {name!r}")
    if update.payload is not None:
        _check_payload(update.payload)
        check_finite(update.payload, "its update", "Try a smaller --lr, or --optimizer adam --lr 0.001.")
    return update


def _check_payload(payload: Payload) -> None:
    expect(payload, Payload, "its update's payload")
    for name, tensor in payload.tensors.items():
        expect(tensor, Tensor, f"its payload's {name!r}")
    for key, word in payload.meta.items():
        expect(word, str, f"its payload's meta {key!r}")


class WatchedTensors(Mapping[str, Tensor]):
    """Tensors of a payload; `read` tells whether any was looked at."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = tensors
        self.read = False

    def __getitem__(self, name: str) -> Tensor:
        self.read = True
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def watched_tensors(payload: Payload | None) -> tuple[Payload | None, WatchedTensors]:
    """The payload, and its tensors as they are watched."""
    watched = WatchedTensors({} if payload is None else payload.tensors)
    return None if payload is None else replace(payload, tensors=watched), watched


def checked_predictors(nets: Mapping[str, nn.Module]) -> Mapping[str, nn.Module]:
    """Networks by role; RunError for anything else."""
    expect(nets, Mapping, "what it returned as predictors")
    for role, net in nets.items():
        expect(net, nn.Module, f"predictor {role!r}")
    return nets
